"""The decision for one item: its lane, the reason, and its cost on each lane."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from lanes.errors import RuleFailed
from lanes.ids import ItemId
from lanes.json_data import characters
from lanes.money.budget import find_over_soft
from lanes.money.estimates import Estimate, Estimates
from lanes.packing import history_chars
from lanes.routing.lane_rules import MAY_WAIT, binds, may_wait_for
from lanes.routing.prospect import Chance, Prospects
from lanes.routing.room import NO_GUARDS, Guards
from lanes.routing.split import BUCKETS, Splits, bucket, to_realtime
from lanes.units import dollars, pluralize
from lanes.words import Lane, Mode, Outcome, Reason
from lanes.workload.rules import Rule
from lanes.workload.version import Version


class ArrivedItem(NamedTuple):
    """The properties of an item that routing reads.

    `length` is the number of characters of the payload as JSON if the database counted them; the payload is then empty unless a
    rule reads it. `earlier` has the lengths of the earlier items of its entity that an authoritative pass would read, newest
    first.
    """

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
    earlier: Sequence[int] = ()

    @property
    def characters(self) -> int:
        """Return the number of characters of the payload, from which costs are estimated."""
        return characters(self.payload) if self.length is None else self.length

    def history_chars(self, version: Version) -> int:
        """Return the number of characters of the history that a batch of the version reads with the item."""
        return history_chars(self.earlier[: version.spec.context.depth]) if self.earlier else 0


class ReceivedItem(NamedTuple):
    """An item that waits for its first route."""

    id: ItemId
    revision: int
    arrived: ArrivedItem


class Route(NamedTuple):
    """A decision, with the sentence that explains it to an operator.

    `probability` is the probability that a batch is back in time, if a due time was compared with a batch. `raised` maps each
    rule that could not be evaluated to its error; these rules counted as not met.
    """

    lane: Lane
    reason: Reason
    explanation: str
    realtime_usd: Decimal
    batch_usd: Decimal
    probability: float | None = None
    raised: Mapping[str, str] | None = None

    @property
    def binds(self) -> Lane | None:
        """Return the lane that the route binds its item to, None if the item is free."""
        return binds(self.reason, self.lane)


def decide(
    item: ArrivedItem,
    version: Version,
    splits: Splits,
    *,
    now: datetime,
    estimates: Estimates | None = None,
    prospects: Prospects | None = None,
    guards: Guards = NO_GUARDS,
) -> Route:
    """Decide the route of an item.

    The first match decides: the pin; the conditions that require real time; the conditions that require batch; the item's
    value, if the version states one; the split. If the value or the split chooses real time, one of the `guards` may still send
    the item to batch.

    For many items, pass the same `estimates` and `prospects` as of `now`, and add each item that goes to real time to the
    guards' room. Without prospects, batches are assumed to take as long as the version states.

    Raises:
        LookupError: No price is known for one of the version's models.
    """
    costs = (estimates or Estimates(now)).of(version, item.characters, item.history_chars(version))
    raised = dict[str, str]()
    choice = _choose(item, version, splits, now, prospects, costs, raised)
    chosen = choice.reason is Reason.SPLIT or choice.reason is Reason.VALUE
    if chosen and choice.lane is Lane.REALTIME and guards is not NO_GUARDS:
        choice = _apply_guards(choice, item, version, now, guards)
    probability = None if choice.chance is None else choice.chance.probability
    usd = costs.realtime, costs.batch
    return Route(choice.lane, choice.reason, choice.explanation, *usd, probability, raised or None)


def looks_inside(version: Version) -> bool:
    """Return whether a rule of the version reads the payload of an item."""
    return any(
        rule is not None and rule.reads("payload")
        for rule in (version.urgent_when, version.batch_when)
    )


def rule_faults(item: ArrivedItem, version: Version, *, now: datetime) -> list[str]:
    """Return the errors of the version's rules that cannot be evaluated for an item; these rules then count as not met."""
    variables, raised = rule_variables(item, now), dict[str, str]()
    for name, rule in (("urgent_when", version.urgent_when), ("batch_when", version.batch_when)):
        _holds(name, rule, variables, raised)
    return list(raised.values())


def fall_back(costs: Estimate, *, last: Outcome, failures: int, chance: Chance | None) -> Route:
    """Return the route to batch for an item that may wait and that real time could not answer."""
    why = f"real time could not answer it: {last} (after {pluralize(failures, 'failed attempt')})"
    return leave(Reason.FALLBACK, why, costs, chance)


def leave(reason: Reason, why: str, costs: Estimate, chance: Chance | None) -> Route:
    """Return the route of an item that leaves real time and may wait.

    `chance` is the chance that its batch is in time, None for an item without a due time.
    """
    explanation, probability = f"{why}{MAY_WAIT}", None
    if chance is not None:
        explanation, probability = f"{explanation}: {chance.explanation}", chance.probability
    return Route(Lane.BATCH, reason, explanation, costs.realtime, costs.batch, probability)


class _Choice(NamedTuple):
    lane: Lane
    reason: Reason
    explanation: str
    chance: Chance | None = None


def _choose(
    item: ArrivedItem,
    version: Version,
    splits: Splits,
    now: datetime,
    prospects: Prospects | None,
    costs: Estimate,
    raised: dict[str, str],
) -> _Choice:
    if item.pin is not None:
        return _Choice(item.pin, Reason.PINNED, f"the sender asked for {item.pin}")
    if item.due_at is not None and item.due_at <= now:
        return _Choice(
            Lane.REALTIME,
            Reason.OVERDUE,
            f"it was due at {item.due_at.isoformat(timespec='seconds')}",
        )
    if item.urgent:
        return _Choice(Lane.REALTIME, Reason.URGENT, "the sender marked it urgent")
    has_rules = version.urgent_when or version.batch_when
    variables = rule_variables(item, now) if has_rules else {}
    both = None if version.both_rules is None else version.both_rules.hold(variables)
    urgent, note = (
        (both[0], "") if both else _holds("urgent_when", version.urgent_when, variables, raised)
    )
    if urgent:
        return _Choice(
            Lane.REALTIME, Reason.URGENT_RULE, f"urgent_when holds: {version.spec.urgent_when}"
        )
    spec, chance, prospect = version.spec, None, None
    if item.due_at is not None or spec.value_usd:
        prospect = (prospects or Prospects.assume(now)).of(version)
    if item.due_at is not None and prospect is not None:
        chance = prospect.chance(item.due_at)
        if not chance.enough:
            return _Choice(Lane.REALTIME, Reason.DEADLINE, chance.explanation + note, chance)
        note = f"; {chance.explanation}{note}"
    late, late_note = (
        (both[1], "") if both else _holds("batch_when", version.batch_when, variables, raised)
    )
    if late:
        return _Choice(
            Lane.BATCH, Reason.BATCH_RULE, f"batch_when holds: {spec.batch_when}{note}", chance
        )
    note += late_note
    if spec.value_usd and prospect is not None:
        age_s = (now - item.occurred_at).total_seconds()
        worth = worth_usd(spec.value_usd, spec.half_life_s, age_s)
        lost = prospect.compute_loss(early=chance is not None and chance.early)
        weighed = weigh(worth, lost, compute_savings_usd(costs, spec.mode))
        if weighed.lane is not None:
            return _Choice(weighed.lane, Reason.VALUE, weighed.explanation + note, chance)
        note = f"; {weighed.explanation}{note}"
    split = splits.of(item.workload, item.consumer)
    place = bucket(item.workload, entity=item.entity, key=item.key)
    realtime = to_realtime(split, place)
    whose = "" if split.consumer is None else f" of consumer {split.consumer}"
    explanation = (
        f"the split{whose} sends {split.basis_points / 100:g} % to real time, "
        f"and bucket {place:,} of {BUCKETS:,} is {'inside' if realtime else 'outside'}"
    )
    return _Choice(
        Lane.REALTIME if realtime else Lane.BATCH, Reason.SPLIT, explanation + note, chance
    )


def _apply_guards(
    choice: _Choice, item: ArrivedItem, version: Version, now: datetime, guards: Guards
) -> _Choice:
    """Apply the guards to an item that may wait, and that only its value or the split sent to real time."""
    if (spent := find_over_soft(guards.budgets, item.workload, item.consumer)) is not None:
        return _Choice(
            Lane.BATCH, Reason.BUDGET, f"{spent.sentence}; {choice.explanation}", choice.chance
        )
    if guards.room is None:
        return choice
    full = guards.room.lacks(version, may_wait_for(item, version, now), now=now)
    if full is None:
        return choice
    return _Choice(Lane.BATCH, Reason.CAPACITY, f"{full}; {choice.explanation}", choice.chance)


def rule_variables(item: ArrivedItem, now: datetime) -> dict[str, Any]:
    """Return the variables that rules can read, as of `now`."""
    return {
        "payload": item.payload,
        "age_s": (now - item.occurred_at).total_seconds(),
        "due_in_s": None if item.due_at is None else (item.due_at - now).total_seconds(),
        "consumer": item.consumer or "",
    }


def _holds(
    name: str, rule: Rule | None, variables: Mapping[str, Any], raised: dict[str, str]
) -> tuple[bool, str]:
    """Return whether a rule is met. If it cannot be evaluated, it is not met: its error goes to `raised`, and to the note."""
    if rule is None:
        return False, ""
    try:
        return rule.holds(variables), ""
    except RuleFailed as failure:
        raised[name] = str(failure)
        return False, f"; {failure}"


class ValueComparison(NamedTuple):
    """The lane that is worth more, None if both are worth the same, and a sentence with both amounts."""

    lane: Lane | None
    explanation: str


def worth_usd(value_usd: float, half_life_s: float, age_s: float) -> float:
    """Return the present value of an answer whose item occurred `age_s` ago; before the item occurs, it is the full value."""
    return value_usd * 2.0 ** (-max(age_s, 0.0) / half_life_s)


def compute_savings_usd(costs: Estimate, mode: Mode) -> float:
    """Return a batch's saving for an item; in Lambda mode a batch runs anyway, so it saves the whole real-time cost."""
    return costs.less_in_batch if mode is Mode.PLAIN else float(costs.realtime)


def weigh(worth: float, lost: float, saved: float) -> ValueComparison:
    """Compare the value that waiting loses with the saving of a batch, in US dollars; `lost` is a share, 0 to 1.

    `saved` is negative if a batch costs more.
    """
    loses = worth * lost
    lane = Lane.REALTIME if loses > saved else Lane.BATCH if loses < saved else None
    return ValueComparison(
        lane, f"waiting loses about {dollars(loses)} of {dollars(worth)}, {_saves(saved)}"
    )


@lru_cache(maxsize=4096)  # items of equal length have equal savings
def _saves(saved: float) -> str:
    return (
        f"a batch saves {dollars(saved)}" if saved >= 0 else f"a batch costs {dollars(-saved)} more"
    )
