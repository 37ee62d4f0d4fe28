"""The evidence that advice on a workload rests on, read from the ledger, the routes and the reads."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lanes.advice.evidence import AT_ONCE_S, ConsumerUse, Evidence, LaneUse
from lanes.errors import UnknownWorkload
from lanes.figures.durations import Durations
from lanes.figures.kinds import Kind
from lanes.money.budget import month_usd
from lanes.money.cost import price_per_token
from lanes.routing.capacity import Need
from lanes.routing.prospect import Batches, Departure
from lanes.routing.turnaround import Turnarounds
from lanes.store import asking
from lanes.store.advice.limits import uses
from lanes.store.advice.questions import IN_FORCE, QUESTIONS
from lanes.store.asking import Ask
from lanes.store.figures.spread import added_up
from lanes.store.money import budget_status
from lanes.store.routing import turnarounds
from lanes.words import Lane, Mode
from lanes.workload.window import LEAD

if TYPE_CHECKING:
    from sqlalchemy import Connection

DEMANDED = ("overdue", "urgent", "urgent_rule", "deadline")
DEFERRED = ("batch_rule",)


@dataclass(frozen=True)
class InForce:
    """What advice on a workload takes from its version in force: no more of it is read."""

    workload: str
    mode: Mode
    models: Mapping[Lane, str]
    batches: Batches
    confidence: float  # that a batch is back when it is expected


def in_force(ask: Ask, workload: str | None = None) -> list[InForce]:
    """The version in force of that workload, or of each, by name."""
    return [
        InForce(
            row.workload, Mode(row.mode), {Lane.REALTIME: row.realtime_model, Lane.BATCH: row.batch_model},
            Batches(row.batch_model, timedelta(minutes=row.batch_expected_minutes)), row.confidence,
        )
        for row in ask(IN_FORCE, workload=workload)
    ]  # fmt: skip


def evidence(connection: "Connection", workload: str, *, since: datetime, now: datetime) -> Evidence:
    """What was seen of the workload from the hour of `since` to `now`. Durations and due times are right within 2 %.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    ask = asking.through(connection)
    versions = in_force(ask, workload)
    if not versions:
        raise UnknownWorkload(f'workload "{workload}" has no published version: see `lanes status` for those that have')
    return of_each(ask, versions, since=since, now=now)[workload]


def of_each(ask: Ask, versions: Sequence[InForce], *, since: datetime, now: datetime) -> dict[str, Evidence]:
    """The same of several workloads, by name: each question is asked once for all of them."""
    given = {
        "workloads": [each.workload for each in versions], "since": since.replace(minute=0, second=0, microsecond=0),
        "now": now, "at_once": timedelta(seconds=AT_ONCE_S),
    }  # fmt: skip

    def answers(query: str) -> dict[str, list[Any]]:
        found = defaultdict[str, list[Any]](list)
        for row in ask(query, **given):
            found[row.workload].append(row)
        return found

    seen = {name: answers(query) for name, query in QUESTIONS.items()} if versions else {}
    laws = turnarounds.read(ask, now=now)
    limits = [each.budget for each in budget_status.of(ask, given["workloads"], now=now)]
    return {
        each.workload: replace(
            _of(each, {name: seen[name][each.workload] for name in seen}, laws, now),
            budget_month_usd=month_usd(limit for limit in limits if limit.workload == each.workload),
        )
        for each in versions
    }


def _of(version: InForce, seen: Mapping[str, Sequence[Any]], laws: Turnarounds, now: datetime) -> Evidence:
    counted, unrouted = seen["counted"], seen["unrouted"]
    early = Departure(version.batches, laws, now + LEAD)  # as the router has it
    batch_expected_s = (early.back_at(version.confidence) - now).total_seconds()
    arrived = [each for each in counted if each.kind == "item" and each.word != "canceled"]
    asked, compared = _of_kind(counted, "asked"), _of_kind(counted, "compared")
    billed, list_prices = _billed(counted), _list_prices(version.models, now)
    timed = {kind: _of_kind(seen["timed"], kind) for kind in (Kind.FIRST, Kind.READ, Kind.DUE)}
    due = [pair for each in added_up(timed[Kind.DUE], "workload").values() for pair in each.counted()]
    due += [(seconds, 1) for each in unrouted for seconds in each.due_s]
    first = added_up(timed[Kind.FIRST], "lane")
    (busiest,) = seen["busiest"]
    return Evidence(
        version.workload, version.mode,
        days=(now - busiest.first_at).total_seconds() / 86_400 if busiest.first_at else 0.0,
        items=_sum(arrived, "n") + _sum(unrouted, "n"),
        realtime=_use(Lane.REALTIME, billed, first, list_prices),
        batch=_use(Lane.BATCH, billed, first, list_prices),
        estimated_realtime_usd=_mean(asked, "realtime_usd"),
        estimated_batch_usd=_mean(asked, "batch_usd"),
        batch_list_share=_batch_list_share(billed, list_prices),
        with_due=_sum(_of_kind(counted, "due"), "n") + sum(len(each.due_s) for each in unrouted),
        urgent=_sum(_of_kind(counted, "urgent"), "n") + _sum(unrouted, "urgent"),
        due_within_5s=sum(n for seconds, n in due if seconds <= 5),
        due_before_batch=sum(n for seconds, n in due if seconds < batch_expected_s),
        batch_expected_s=batch_expected_s,
        peak_per_minute=busiest.n,
        days_arrivals=_whole_days([*arrived, *unrouted], busiest.first_at, now),
        compared=_sum(compared, "n"), corrected=_sum(compared, "items"),
        consumers=_consumers(counted, added_up(timed[Kind.READ], "consumer"), seen["young"]),
        limits=uses(seen["limits"], _takes(_of_kind(counted, "call"), billed.get(Lane.REALTIME)), now),
    )  # fmt: skip


def _takes(calls: Iterable[Any], billed: "Billed | None") -> Need:
    """What an item takes of the provider's limits in real time, on average; nothing but a request where none was answered."""
    ours = [call for call in calls if call.lane == Lane.REALTIME]
    requests = _sum(ours, "n") / max(1, _sum(ours, "items")) or 1.0
    each = max(1, billed.answered) if billed else 1
    return Need(billed.input_tokens / each, billed.output_tokens / each, requests) if billed else Need(0, 0, requests)


def _of_kind(rows: Iterable[Any], kind: str) -> list[Any]:
    return [each for each in rows if each.kind == kind]


def _sum(rows: Iterable[Any], measure: str) -> int:
    return sum(getattr(each, measure) for each in rows)


def _mean(rows: Sequence[Any], measure: str) -> float | None:
    n = _sum(rows, "n")
    return float(sum(getattr(each, measure) for each in rows) / n) if n else None


def _consumers(
    counted: Iterable[Any], read: Mapping[str | None, Durations], young: Iterable[Any]
) -> list[ConsumerUse]:  # fmt: skip
    """How an item was routed first says what it asked for; later routes follow from what happened to it.

    Only answers that real-time gave first show whether somebody waited; a read before the answer is an attempt to read, not a
    read.
    """
    rows = defaultdict[str | None, list[Any]](list)
    for each in counted:
        if each.kind in ("asked", "first", "read"):
            rows[each.consumer].append(each)
    took = {consumer: each.percentile_s(0.5) for consumer, each in read.items()}
    fresh = {each.consumer: each.n for each in young}
    found = [_consumer(consumer, of, took.get(consumer), fresh.get(consumer, 0)) for consumer, of in rows.items()]
    found.sort(key=lambda each: (-each.routed, each.consumer is None, each.consumer))
    return [each for each in found if each.routed]


def _consumer(consumer: str | None, rows: Sequence[Any], median_s: float | None, young: int) -> ConsumerUse:
    asked, read = _of_kind(rows, "asked"), _of_kind(rows, "read")
    answered = _sum((each for each in _of_kind(rows, "first") if each.lane == Lane.REALTIME), "n")
    reads = _sum(read, "n")
    return ConsumerUse(
        consumer,
        routed=_sum(asked, "n"),
        demanded=_sum((each for each in asked if _is_one(each, DEMANDED, Lane.REALTIME)), "n"),
        deferred=_sum((each for each in asked if _is_one(each, DEFERRED, Lane.BATCH)), "n"),
        realtime=_sum((each for each in asked if each.lane == Lane.REALTIME), "n"),
        reads=reads,
        at_once=_sum(read, "items"),
        median_s=median_s,
        unread=max(answered - reads - young, 0),
    )


def _is_one(asked: Any, reasons: Collection[str], lane: Lane) -> bool:
    return asked.word in reasons or (asked.word == "pinned" and asked.lane == lane)


@dataclass(frozen=True)
class Billed:
    """What a lane billed for live work: the answers and the authoritative pass, retries included; neither shadows nor replays.

    The tokens are those of the answers alone: what was billed beside them made the answers dearer.
    """

    usd: float
    answered: int
    input_tokens: int
    output_tokens: int


def _billed(counted: Sequence[Any]) -> dict[Lane, Billed]:
    """By the lanes that billed anything."""
    calls = [each for each in counted if each.kind == "call"]
    valid = [each for each in counted if each.kind == "attempt" and each.word == "valid"]
    return {lane: _billed_by(lane, calls, valid) for lane in Lane if any(each.lane == lane for each in calls)}


def _billed_by(lane: Lane, calls: Sequence[Any], valid: Sequence[Any]) -> Billed:
    answers = [each for each in valid if each.lane == lane]
    usd = sum((each.usd for each in calls if each.lane == lane), Decimal(0))
    return Billed(float(usd), _sum(answers, "items"), _sum(answers, "input_tokens"), _sum(answers, "output_tokens"))


ListPrices = Mapping[Lane, tuple[float, float]]  # of an input and of an output token on each lane


def _list_prices(models: Mapping[Lane, str], now: datetime) -> ListPrices:
    """Empty where the price of a model is no longer known."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        priced = {lane: price_per_token(model, lane, day) for lane, model in models.items()}
    except LookupError:
        return {}
    return {lane: (float(into), float(out)) for lane, (into, out) in priced.items()}


def _listed(answered: Iterable[Billed], priced: ListPrices, lane: Lane) -> float:
    into, out = priced.get(lane, (0.0, 0.0))
    return sum((each.input_tokens * into + each.output_tokens * out for each in answered), 0.0)


def _batch_list_share(billed: Mapping[Lane, Billed], priced: ListPrices) -> float:
    """Of the tokens that were answered with, on either lane."""
    realtime = _listed(billed.values(), priced, Lane.REALTIME)
    return _listed(billed.values(), priced, Lane.BATCH) / realtime if realtime else Evidence.batch_list_share


def _use(lane: Lane, billed: Mapping[Lane, Billed], timed: Mapping[str, Durations], priced: ListPrices) -> LaneUse:
    spent, first = billed.get(lane), timed.get(lane)
    return LaneUse(
        answered=spent.answered if spent else 0,
        billed_usd=spent.usd if spent else 0.0,
        list_usd=_listed([spent] if spent else [], priced, Lane.REALTIME),
        p95_s=first.percentile_s(0.95) if first else None,
        timed=first.timed if first else 0,
    )


def _whole_days(rows: Sequence[Any], first_at: datetime | None, now: datetime) -> list[int]:
    """Items of each whole UTC day between the first item's day and today's; days without items count 0."""
    if first_at is None:
        return []
    items = Counter[date]()
    for each in rows:
        items[each.day] += each.n
    first, last = first_at.astimezone(UTC).date(), now.astimezone(UTC).date()
    return [items[first + timedelta(days=n)] for n in range(1, (last - first).days)]
