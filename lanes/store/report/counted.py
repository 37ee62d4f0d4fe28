"""The sections of the report that are sums of figures, which are read once for all of them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from lanes.report import figures
from lanes.statistics.figures import Durations, Kind
from lanes.store.asking import Ask
from lanes.store.figures.reading import add_up, select_kind, sum_column, sum_usd
from lanes.words import ANSWERING, BatchState, FlushReason, Lane, Outcome, Purpose, Reason

COUNTED = """
select workload, kind, lane, purpose, word, sum(n)::bigint as n, sum(items)::bigint as items, sum(usd) as usd,
       sum(bound_usd) as bound_usd, sum(realtime_usd) as realtime_usd, sum(batch_usd) as batch_usd, sum(input)::bigint as input,
       sum(output)::bigint as output, sum(cached)::bigint as cached, sum(written)::bigint as written,
       min(first_at) as first_at, max(last_at) as last_at
  from lanes.figures_since('{item,answer,try,route,agreement,call,batch,carried,gathered}', :since)
 group by 1, 2, 3, 4, 5 order by 1
"""

TOOK = "select workload, lane, buckets, counts from lanes.figure_hist_since('{answer}', :since)"
TIMED = """
select workload, kind, buckets, counts from lanes.figure_hist_since('{batch,buffer,gathered}', :since)
 where kind <> 'batch' or word in ('ended', 'collected')
"""
ENDED = (BatchState.ENDED, BatchState.COLLECTED)
FAILED = ("invalid", "errored", "expired", "missing")
DIGIT = Decimal("0.000001")


class Counted:
    """The figures of items received since the minute of `since`."""

    def __init__(self, ask: Ask, since: datetime) -> None:
        self.rows = ask(COUNTED, since=since)
        self._timed = add_up(ask(TIMED, since=since), "kind", "workload")
        self._took = add_up(ask(TOOK, since=since), "workload", "lane")

    def lanes(self) -> list[figures.LaneFigures]:
        """Return the figures of each lane of each workload that had items, answers or attempts."""
        found = [
            self._lane(workload, lane, [each for each in rows if each.lane == lane])
            for workload, rows in self._group_by_workload("item", "answer", "try")
            for lane in Lane
        ]
        return [each for each in found if each.items > 0 or each.answers > 0 or each.attempts > 0]

    def _lane(self, workload: str, lane: Lane, rows: Sequence[Any]) -> figures.LaneFigures:
        items, answers = select_kind(rows, "item"), select_kind(rows, "answer")
        tries = [each for each in select_kind(rows, "try") if each.purpose in ANSWERING]
        took = self._took.get((workload, lane))
        began = min((each.first_at for each in tries if each.first_at), default=None)
        ended = max((each.last_at for each in tries if each.last_at), default=None)
        return figures.LaneFigures(
            workload,
            lane,
            items=sum_column(items, "n"),
            answered=sum_column(items, "items"),
            answers=sum_column(answers, "n"),
            p50_s=took.percentile_s(0.5) if took else None,
            p95_s=took.percentile_s(0.95) if took else None,
            p99_s=took.percentile_s(0.99) if took else None,
            busy_s=(ended - began).total_seconds() if began and ended else 0.0,
            attempts=sum_column(tries, "n"),
            failed_attempts=sum_column((each for each in tries if each.word != Outcome.VALID), "n"),
            cost_usd=sum_usd(tries, "usd"),
        )

    def costs(self) -> list[figures.CostFigures]:
        """Return each workload's billed costs, and the costs of using one lane for all items."""
        return [
            self._cost(workload, rows)
            for workload, rows in self._group_by_workload("item", "try")
            if sum(each.n for each in rows if each.kind == "item" and each.lane) > 0
        ]

    def _cost(self, workload: str, rows: Sequence[Any]) -> figures.CostFigures:
        items = [each for each in select_kind(rows, "item") if each.lane]
        tries = select_kind(rows, "try")
        live = [each for each in tries if each.purpose in ANSWERING]
        valid = [each for each in live if each.word == Outcome.VALID]
        both = _scale(valid)
        scales = {lane: _scale([each for each in valid if each.lane == lane]) for lane in Lane}

        def find_scale(lane: Lane) -> Decimal:
            return next((scale for scale in (scales[lane], both) if scale is not None), Decimal(1))

        all_realtime_usd = sum_usd(items, "realtime_usd") * find_scale(Lane.REALTIME)
        aside = [each for each in tries if each.purpose not in ANSWERING]
        return figures.CostFigures(
            workload,
            actual_usd=sum_usd(live, "usd").quantize(DIGIT),
            all_realtime_usd=all_realtime_usd.quantize(DIGIT),
            all_batch_usd=(sum_usd(items, "batch_usd") * find_scale(Lane.BATCH)).quantize(DIGIT),
            unknown_usd=sum_usd(live, "bound_usd").quantize(DIGIT),
            aside_usd=sum_usd(aside, "usd").quantize(DIGIT),
        )

    def batch_totals(self) -> list[figures.BatchTotals]:
        """Return the batch totals of each workload that had batches."""
        return [
            self._batch_total(workload, rows)
            for workload, rows in self._group_by_workload("batch", "carried")
        ]

    def _batch_total(self, workload: str, rows: Sequence[Any]) -> figures.BatchTotals:
        batches, carried = select_kind(rows, "batch"), select_kind(rows, "carried")
        ended = [each for each in batches if each.word in ENDED]
        took = self._durations(Kind.BATCH).get(workload)
        return figures.BatchTotals(
            workload,
            batches=sum_column(batches, "n"),
            ended=sum_column(ended, "n"),
            items=sum_column(batches, "items"),
            carried=sum_column(ended, "items"),
            returned=sum_column(carried, "n"),
            failed=sum_column((each for each in carried if each.word in FAILED), "n"),
            took_s=took.total_s if took else 0.0,
            p50_s=took.percentile_s(0.5) if took else None,
            p95_s=took.percentile_s(0.95) if took else None,
        )

    def waits(self) -> list[figures.WaitFigures]:
        """Return how long items of each workload waited for their real-time call."""
        return [
            figures.WaitFigures(name, each.count, each.percentile_s(0.5), each.percentile_s(0.95))
            for name, each in self._durations(Kind.BUFFER).items()
        ]

    def checks(self) -> dict[tuple[str, Lane], Decimal]:
        """Return the cost of also answering packed items singly, by workload and lane."""
        found: dict[tuple[str, Lane], Decimal] = {}
        for each in self.rows:
            if each.kind == "try" and each.purpose == Purpose.SHADOW:
                key = each.workload, Lane(each.lane)
                found[key] = found.get(key, Decimal(0)) + each.usd
        return found

    def windows(self) -> list[figures.WindowFigures]:
        """Return, for each workload, how long items stayed in a buffer window, why they left it, and how many shared a call."""
        found: list[figures.WindowFigures] = []
        for workload, took in self._durations(Kind.GATHERED).items():
            rows = [each for each in self.rows if each.workload == workload]
            live = [each for each in select_kind(rows, "call") if each.lane == Lane.REALTIME]
            calls = [each for each in live if each.purpose == Purpose.ANSWER]
            left = {
                why: sum_column(
                    (each for each in select_kind(rows, "gathered") if each.word == why), "n"
                )
                for why in FlushReason
            }
            per_call = sum_column(calls, "items") / sum_column(calls, "n") if calls else 0.0
            mean_s = took.total_s / took.count
            found.append(figures.WindowFigures(workload, took.count, mean_s, per_call, left))
        return found

    def states(self) -> dict[tuple[str, str], int]:
        """Count the items by workload and state, where the state is that of the item's own row."""
        found: dict[tuple[str, str], int] = {}
        for each in select_kind(self.rows, "item"):
            found[each.workload, each.word] = found.get((each.workload, each.word), 0) + each.n
        return found

    def routes(self) -> list[figures.RouteFigures]:
        """Return the decisions by reason, a workload's most frequent first."""
        rows = select_kind(self.rows, "route")
        rows.sort(key=lambda each: (each.workload, -each.n, each.lane, each.word))
        return [figures.RouteFigures(row.workload, Lane(row.lane), row.word, row.n) for row in rows]

    def shed(self) -> dict[str, tuple[int, Decimal]]:
        """Return, by workload, how many decisions shed an item, and the estimated saving of their batches in US dollars."""
        rows = [each for each in select_kind(self.rows, "route") if each.word == Reason.SHED]
        return {each.workload: (each.n, each.realtime_usd - each.batch_usd) for each in rows}

    def agreement(self) -> list[figures.AgreementFigures]:
        """Return how often the lanes agreed, for each workload with answers of both."""
        rows = [each for each in select_kind(self.rows, "agreement") if each.n > 0]
        return [figures.AgreementFigures(each.workload, each.n, each.items) for each in rows]

    def calls(self) -> list[figures.CallFigures]:
        """Return the billed calls by workload and lane."""
        return [
            figures.CallFigures(
                workload,
                lane,
                *(
                    sum_column(of_lane, measure)
                    for measure in ("n", "items", "input", "cached", "output", "written")
                ),
            )
            for workload, rows in self._group_by_workload("call")
            for lane in Lane
            if (of_lane := [each for each in rows if each.lane == lane])
        ]

    def _durations(self, kind: Kind) -> Mapping[str, Durations]:
        """Return the durations of a kind by workload: until a batch ended, until the call, or in a buffer window."""
        return {name: took for (of, name), took in sorted(self._timed.items()) if of == kind}

    def _group_by_workload(self, *kinds: str) -> Iterator[tuple[str, list[Any]]]:
        for workload, rows in groupby(self.rows, key=lambda each: each.workload):
            if of_kinds := [each for each in rows if each.kind in kinds]:
                yield workload, of_kinds


def _scale(valid: Collection[Any]) -> Decimal | None:
    """Return the billed cost divided by the estimated cost; None if there is no estimate."""
    estimated = sum(
        (each.realtime_usd if each.lane == Lane.REALTIME else each.batch_usd for each in valid),
        Decimal(0),
    )
    return sum_usd(valid, "usd") / estimated if estimated else None
