"""The decision for one item: its lane, the reason, and what each lane would cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from lanes.errors import RuleFailed
from lanes.ids import ItemId
from lanes.money.budget import BudgetStatus
from lanes.money.cost import Estimate, Estimates
from lanes.payload import characters
from lanes.routing.prospect import Chance, Prospects
from lanes.routing.split import BUCKETS, Splits, bucket, to_realtime
from lanes.words import Lane, Outcome, Reason
from lanes.workload.rules import Rule
from lanes.workload.version import Version

EXPECTED_CALL = timedelta(seconds=2)  # what a real-time call usually takes, subtracted from a due time when ranking
FREE = frozenset(
    {Reason.VALUE, Reason.SPLIT, Reason.BUDGET, Reason.CAPACITY, Reason.FALLBACK, Reason.SHED}
)  # reasons of routes that do not bind
LONG_OVERDUE = datetime(1970, 1, 1, tzinfo=UTC)  # earlier due times rank alike


@dataclass(frozen=True)
class Arrived:
    """What routing knows of an item. `length` is that of its payload as JSON, in characters, where the database counted them;
    then the payload may have been left there, because no rule looks into it, and is empty here."""

    workload: str
    key: str
    payload: Mapping[str, Any]
    received_at: datetime
    occurred_at: datetime
    consumer: str | None = None
    entity: str | None = None
    urgent: bool = False
    pin: Lane | None = None
    due_at: datetime | None = None
    length: int | None = None

    @property
    def characters(self) -> int:
        """Of its payload: costs are estimated by them."""
        return characters(self.payload) if self.length is None else self.length


@dataclass(frozen=True)
class Received:
    """An item that waits for its first route."""

    id: ItemId
    revision: int
    arrived: Arrived


@dataclass(frozen=True)
class Route:
    """A decision, with the sentence that explains it to an operator.

    `probability` is the one that was stated where a due time was weighed against a batch: that a batch is back by then.
    """

    lane: Lane
    reason: Reason
    explanation: str
    realtime_usd: Decimal
    batch_usd: Decimal
    probability: float | None = None

    @property
    def binds(self) -> Lane | None:
        """The lane that nothing may take it from, None where it is free."""
        return binds(self.reason, self.lane)


def binds(reason: Reason, lane: Lane) -> Lane | None:
    """The lane that a route for this reason binds its item to; None: it may change the lane while nothing answered it.

    Who pinned it or made a rule for it, its urgency and its due time bind; the split, its value and the guards do not.
    """
    return None if reason in FREE else lane


def decide(
    item: Arrived, version: Version, splits: Splits, *, now: datetime, estimates: Estimates | None = None,
    prospects: Prospects | None = None, over_soft: Sequence[BudgetStatus] = (),
) -> Route:  # fmt: skip
    """The route of an item: pins, then what must be real-time, then what must be batch, then the split, and last whether one
    of the budgets that are beyond their soft limits is the item's.

    Whoever decides about many at once gives them the same `estimates` and `prospects`, those of `now`. Without prospects,
    batches are assumed to take as long as the version says.

    Raises:
        LookupError: no price is known for one of its models.
    """
    lane, reason, explanation, chance = _choose(item, version, splits, now, prospects)
    if over_soft and lane is Lane.REALTIME and reason is Reason.SPLIT:
        lane, reason, explanation = _afforded(item, over_soft, explanation)
    costs = (estimates or Estimates(now)).of(version, item.characters)
    probability = None if chance is None else chance.probability
    return Route(lane, reason, explanation, costs.realtime, costs.batch, probability)


def looks_inside(version: Version) -> bool:
    """Whether a rule of the version reads the payload of an item."""
    return any(rule is not None and rule.reads("payload") for rule in (version.urgent_when, version.batch_when))


def may_wait(bound_to: Lane | None, chance: Chance | None) -> bool:
    """Whether a batch is soon enough for an item of the real-time lane; `bound_to` is what its newest route says, `chance` that
    of a batch that leaves from now on, None for an item that is not due."""
    return bound_to is not Lane.REALTIME and (chance is None or chance.enough)


def fall_back(*, last: Outcome, failures: int, costs: Estimate, chance: Chance | None = None) -> Route:
    """The route of an item that may wait and that real time could not answer: a batch answers it."""
    said = f"real time could not answer it: {last} (after {failures} failed attempts); it may wait for a batch"
    if chance is not None:
        said += f": {chance.said}"
    probability = None if chance is None else chance.probability
    return Route(Lane.BATCH, Reason.FALLBACK, said, costs.realtime, costs.batch, probability)


def rank_at(item: Arrived, version: Version) -> datetime:
    """When the item should be served at the latest: the order of a lane. Older items overtake, so nothing starves."""
    if item.due_at is not None:
        return max(item.due_at, LONG_OVERDUE) - EXPECTED_CALL
    return item.received_at + timedelta(seconds=version.spec.patience_s)


def _choose(
    item: Arrived, version: Version, splits: Splits, now: datetime, prospects: Prospects | None
) -> tuple[Lane, Reason, str, Chance | None]:
    if item.pin is not None:
        return item.pin, Reason.PINNED, f"the sender asked for {item.pin}", None
    if item.due_at is not None and item.due_at <= now:
        return Lane.REALTIME, Reason.OVERDUE, f"it was due at {item.due_at.isoformat(timespec='seconds')}", None
    if item.urgent:
        return Lane.REALTIME, Reason.URGENT, "the sender marked it urgent", None
    variables = _variables(item, now)
    urgent, note = _holds(version.urgent_when, variables)
    if urgent:
        return Lane.REALTIME, Reason.URGENT_RULE, f"urgent_when holds: {version.spec.urgent_when}", None
    chance = None
    if item.due_at is not None:
        chance = (prospects or Prospects.assumed(now)).of(version).chance(item.due_at)
        if not chance.enough:
            return Lane.REALTIME, Reason.DEADLINE, chance.said + note, chance
        note = f"; {chance.said}{note}"
    late, late_note = _holds(version.batch_when, variables)
    if late:
        return Lane.BATCH, Reason.BATCH_RULE, f"batch_when holds: {version.spec.batch_when}{note}", chance
    split = splits.of(item.workload, item.consumer)
    place = bucket(item.workload, entity=item.entity, key=item.key)
    realtime = to_realtime(split, place)
    whose = "all consumers" if split.consumer is None else f"consumer {split.consumer}"
    said = (
        f"bucket {place:,} of {BUCKETS:,} is {'below' if realtime else 'not below'} "
        f"the split of {split.basis_points / 100:g} % for {whose}"
    )
    return Lane.REALTIME if realtime else Lane.BATCH, Reason.SPLIT, said + note + late_note, chance


def _afforded(item: Arrived, over_soft: Sequence[BudgetStatus], explanation: str) -> tuple[Lane, Reason, str]:
    """Where an item goes that may wait; only the split asked for real time."""
    for each in over_soft:
        if each.budget.workload == item.workload and each.budget.consumer in (None, item.consumer):
            return Lane.BATCH, Reason.BUDGET, f"{each.said}; {explanation}"
    return Lane.REALTIME, Reason.SPLIT, explanation


def _variables(item: Arrived, now: datetime) -> dict[str, Any]:
    return {
        "payload": item.payload,
        "age_s": (now - item.occurred_at).total_seconds(),
        "due_in_s": None if item.due_at is None else (item.due_at - now).total_seconds(),
        "consumer": item.consumer or "",
    }


def _holds(rule: Rule | None, variables: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a rule holds; one that cannot be evaluated does not, and the note says so."""
    if rule is None:
        return False, ""
    try:
        return rule.holds(variables), ""
    except RuleFailed as failure:
        return False, f"; {failure}"
