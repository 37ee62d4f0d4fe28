"""A recount of the figures in Python, fact by fact, and readers of the stored figures."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lanes.statistics.figures import HOURLY, bucket_of
from tests.store.tries import rows

MEASURES = (
    "n",
    "items",
    "usd",
    "bound_usd",
    "realtime_usd",
    "batch_usd",
    "input",
    "output",
    "cached",
    "written",
    "first_at",
    "last_at",
)
ATTRIBUTES = ("workload", "version_id", "lane", "purpose", "consumer", "kind", "word")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

Key = tuple[Any, ...]  # grain, at, then the attributes
Figures = dict[Key, dict[str, Any]]


def truncated(at: datetime, grain: str) -> datetime:
    minute = at.replace(second=0, microsecond=0)
    hour = minute if grain == "minute" else minute.replace(minute=0)
    return hour.replace(hour=0) if grain == "day" else hour


class Recount:
    """The figures and histograms that the facts in the database add up to."""

    def __init__(self, connection: Connection) -> None:
        of = {
            name: rows(connection, name, "id")
            for name in (
                "item",
                "route",
                "attempt",
                "response",
                "result",
                "correction",
                "read",
                "work",
                "batch",
                "label",
            )
        }
        self._items = {each.id: each for each in of["item"]}
        self._of: dict[str, dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for name in ("route", "result", "correction", "read"):
            for each in of[name]:
                self._of[name][each.item_id].append(each)
        self.figures: Figures = {}
        self.hist: Counter[Key] = Counter()
        for each in of["route"]:
            self._add(
                each.decided_at,
                self._items[each.item_id].workload,
                "route",
                each.reason,
                lane=each.lane,
                version_id=each.version_id,
                realtime_usd=each.realtime_usd,
                batch_usd=each.batch_usd,
            )
            for rule in each.raised or ():
                workload = self._items[each.item_id].workload
                self._add(each.decided_at, workload, "raised", rule, version_id=each.version_id)
        for each in of["attempt"]:
            self._attempt(each)
        for each in of["response"]:
            self._add(
                each.billed_at,
                each.workload,
                "call",
                None,
                lane=each.lane,
                purpose=each.purpose,
                items=each.items,
                usd=each.cost_usd,
                **_tokens(each),
            )
        for each in of["result"]:
            if each.generation == 0:
                item = self._items[each.item_id]
                took: timedelta = each.created_at - item.received_at
                for kind, at in (("result", each.created_at), ("answer", item.received_at)):
                    self._add(
                        at,
                        item.workload,
                        kind,
                        each.standing,
                        lane=each.lane,
                        took=took,
                        version_id=each.version_id,
                    )
        given = {each.id: each.version_id for each in of["result"]}
        for each in of["correction"]:
            self._add(
                each.corrected_at,
                self._items[each.item_id].workload,
                "correction",
                None,
                version_id=given[each.authoritative_id],
            )
        for each in of["batch"]:
            self._batch(each)
        for item in self._items.values():
            self._item(item)

    def peaks(self) -> dict[tuple[str, datetime], int]:
        """Return the items in the busiest minute of each workload's hour, without hours that have no items."""
        minutes: Counter[tuple[str, datetime]] = Counter()
        for (grain, at, workload, *_, kind, word), said in self.figures.items():
            if grain == "minute" and kind == "item" and word != "canceled":
                minutes[workload, at] += said["n"]
        found: dict[tuple[str, datetime], int] = {}
        for (workload, at), n in minutes.items():
            hour = (workload, truncated(at, "hour"))
            found[hour] = max(found.get(hour, 0), n)
        return found

    def _attempt(self, each: Any) -> None:
        item = self._items[each.item_id]
        routes = self._of["route"][each.item_id]
        before = [route for route in routes if route.decided_at <= each.ended_at]
        said = (before[-1:] or routes[:1]) if each.outcome == "valid" else []
        measured: dict[str, Any] = {
            "items": int(each.shown),
            "usd": each.cost_usd,
            "bound_usd": each.bound_usd,
            **_tokens(each),
            **(
                {"realtime_usd": said[0].realtime_usd, "batch_usd": said[0].batch_usd}
                if said
                else {}
            ),
        }
        whose: dict[str, Any] = {
            "lane": each.lane,
            "purpose": each.purpose,
            "version_id": each.version_id,
        }
        self._add(each.ended_at, each.workload, "attempt", each.outcome, **whose, **measured)
        self._add(
            item.received_at,
            each.workload,
            "try",
            each.outcome,
            first_at=each.started_at,
            last_at=each.ended_at,
            **whose,
            **measured,
        )
        if each.lane == "realtime" and each.purpose == "answer" and each.message_id is not None:
            self._add(
                each.ended_at,
                each.workload,
                "buffer",
                None,
                took=each.started_at - item.received_at,
                **whose,
            )

        if each.gathered_ms is not None:
            took = timedelta(milliseconds=each.gathered_ms)
            self._add(
                each.ended_at, each.workload, "gathered", each.left_because, took=took, **whose
            )

    def _batch(self, each: Any) -> None:
        whose: dict[str, Any] = {"lane": "batch", "version_id": each.version_id}
        ended = each.ended_at - each.submitted_at if each.submitted_at and each.ended_at else None
        self._add(
            each.intended_at,
            each.workload,
            "batch",
            each.state,
            items=each.items,
            took=ended,
            **whose,
        )
        self._add(
            each.intended_at,
            each.workload,
            "request",
            None,
            items=each.items,
            n=each.requests,
            **whose,
        )
        for word in ("succeeded", "invalid", "errored", "canceled", "expired", "missing"):
            if n := getattr(each, word):
                self._add(each.intended_at, each.workload, "carried", word, n=n, **whose)

    def _item(self, item: Any) -> None:
        routes, at = self._of["route"][item.id], item.received_at
        answered, canceled = item.answered_at, item.canceled_at is not None
        stands = (
            "canceled"
            if canceled
            else "settled"
            if item.settled_at
            else "failed"
            if item.failed_at
            else "answered"
            if answered
            else "open"
        )
        if routes or canceled:
            costs = (
                {"realtime_usd": routes[-1].realtime_usd, "batch_usd": routes[-1].batch_usd}
                if routes
                else {}
            )
            self._add(
                at,
                item.workload,
                "item",
                stands,
                lane=routes[-1].lane if routes else None,
                items=int(answered is not None),
                **costs,
            )
        for generation in {each.generation for each in self._of["result"][item.id]}:
            self._compared(item, generation)
        if canceled:
            return
        if routes:
            self._add(
                at,
                item.workload,
                "asked",
                routes[0].reason,
                version_id=routes[0].version_id,
                lane=routes[0].lane,
                consumer=item.consumer,
                realtime_usd=routes[0].realtime_usd,
                batch_usd=routes[0].batch_usd,
            )
            if item.due_at:
                self._add(at, item.workload, "due", None, took=item.due_at - at)
            if item.urgent:
                self._add(at, item.workload, "urgent", None)
            if item.due_at and (decided_at := answered or item.failed_at):
                by = (
                    [each for each in routes if each.decided_at <= decided_at][-1:] or routes[:1]
                )[0]
                said = "deadline" if by.reason == "overdue" else by.reason
                word = "overdue" if item.due_at <= item.received_at else said
                self._add(
                    decided_at,
                    item.workload,
                    "deadline",
                    word,
                    lane=by.lane,
                    items=int(answered is not None and answered <= item.due_at),
                )
        live = [each for each in self._of["result"][item.id] if each.generation == 0]
        if not (answered and live):
            return
        self._add(
            at,
            item.workload,
            "first",
            None,
            lane=live[0].lane,
            consumer=item.consumer,
            took=answered - at,
        )
        reads = [
            each
            for each in self._of["read"][item.id]
            if each.result_id is not None and each.read_at >= answered
        ]
        if reads and live[0].lane == "realtime":
            first = min(each.read_at for each in reads)
            self._add(
                at,
                item.workload,
                "read",
                None,
                consumer=item.consumer,
                items=int(first <= answered + MINUTE),
                took=first - answered,
            )

    def _compared(self, item: Any, generation: int) -> None:
        of = [each for each in self._of["result"][item.id] if each.generation == generation]
        early = {each.revision for each in of if each.standing == "provisional"}
        both = [each for each in of if each.standing == "authoritative" and each.revision in early]
        if both:
            version = both[-1].version_id
            corrected = int(
                both[-1].id in {each.authoritative_id for each in self._of["correction"][item.id]}
            )
            self._add(
                both[-1].created_at,
                item.workload,
                "agreement",
                None,
                items=corrected,
                version_id=version,
            )
            if generation == 0:
                self._add(
                    item.received_at,
                    item.workload,
                    "compared",
                    None,
                    items=corrected,
                    version_id=version,
                )

    def _add(
        self,
        at: datetime,
        workload: str,
        kind: str,
        word: str | None,
        *,
        took: timedelta | None = None,
        **said: Any,
    ) -> None:
        whose = {"workload": workload, "kind": kind, "word": word, **said}
        for grain in ("hour", "day") if kind in HOURLY else ("minute", "hour", "day"):
            key = (grain, truncated(at, grain), *(whose.get(name) for name in ATTRIBUTES))
            counted = self.figures.setdefault(
                key, dict.fromkeys(MEASURES, 0) | {"first_at": None, "last_at": None}
            )
            for name, value in {"n": 1, **said}.items():
                if name in ("first_at", "last_at"):
                    first_or_last = min if name == "first_at" else max
                    counted[name] = (
                        value if counted[name] is None else first_or_last(counted[name], value)
                    )
                elif name in MEASURES:
                    counted[name] += value
            if took is not None:
                timed = (
                    (*key[:-3], None, *key[-2:]) if kind == "first" else key
                )  # one histogram for all consumers
                self.hist[(*timed, bucket_of(took))] += 1


def _tokens(each: Any) -> dict[str, Any]:
    return {
        "input": each.input_tokens,
        "output": each.output_tokens,
        "cached": each.cache_read_tokens,
        "written": each.cache_write_tokens,
    }


def stand(connection: Connection) -> tuple[Figures, Counter[Key]]:
    """Return the stored figures and histograms, without figures whose measures are all zero."""
    found = {
        (each.grain, each.at, *(getattr(each, name) for name in ATTRIBUTES)): {
            name: getattr(each, name) for name in MEASURES
        }
        for each in connection.execute(text("select * from lanes.figure"))
    }
    hist: Counter[Key] = Counter()
    for each in connection.execute(text("select * from lanes.figure_hist where n <> 0")):
        hist[(each.grain, each.at, *(getattr(each, name) for name in ATTRIBUTES), each.bucket)] += (
            each.n
        )
    return {key: said for key, said in found.items() if any(_counts(said))}, hist


def _counts(said: dict[str, Any]) -> Iterator[int | Decimal]:
    return (value for name, value in said.items() if name not in ("first_at", "last_at"))


def peaks(connection: Connection) -> dict[tuple[str, datetime], int]:
    """Return the peaks as the table stores them."""
    return {
        (each.workload, each.at): each.n for each in rows(connection, "figure_peak", "at") if each.n
    }
