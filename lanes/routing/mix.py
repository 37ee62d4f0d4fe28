"""The reasons for a change of the batch share: parts by reason, consumer and version that add up to the change."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from lanes import units
from lanes.words import Lane, Reason

TRAFFIC = "traffic"  # the part of a consumer and version whose share of all items grew or shrank
# changes of lane after the first route: to a batch (1), or back (-1)
LATER = {Reason.FALLBACK: 1, Reason.SHED: 1, Reason.RESCUE: -1}
# guards: they take items that the split had sent to real time
KEPT = frozenset({Reason.BUDGET, Reason.CAPACITY})
LEAST_PART = 0.005  # change of the share below which a part is not named
MOST_NAMED = 3


class RoutedCount(NamedTuple):
    """The items of a consumer and version by lane and reason, in the earlier period and now; "" means no consumer."""

    reason: str
    lane: str
    consumer: str
    version: int | None
    before: int
    now: int


class MixPart(NamedTuple):
    """The part that one reason, consumer and version contributed to the change of the batch share, -1 to 1."""

    reason: str
    consumer: str
    version: int | None
    change: float


class MixChange(NamedTuple):
    """The batch share before and now, with the parts of its change."""

    items_before: int
    items: int
    before: float
    now: float
    parts: Sequence[MixPart]

    @property
    def change(self) -> float:
        """Return the change of the share, which is the sum of the parts."""
        return self.now - self.before


def compute_change(counts: Sequence[RoutedCount]) -> MixChange | None:
    """Return the change of the batch share; None if one of the periods has no items.

    The parts follow Kitagawa (JASA 50, 1955), with the mean of both periods as weights, so they add up exactly:

    - A reason that binds, or that weighs a value, takes its items from the split. Its part is the growth of its share, times
      the difference between its batch rate and that of the split for the same consumer and version.
    - Guards and later changes of lane take their items from real time, or return them.
    - The part of the split is the change of its rate.
    - The part of the traffic is the change of the weights of consumers and versions.
    """
    first = [each for each in counts if each.reason not in LATER]
    whole = sum(each.before for each in first), sum(each.now for each in first)
    if not all(whole):
        return None

    def share(of: Iterable[RoutedCount]) -> _Both:
        some = list(of)
        before, now = sum(each.before for each in some), sum(each.now for each in some)
        return _Both(before / whole[0], now / whole[1])

    usual = _split_rate(first, share, _Both(0.5, 0.5))
    parts = defaultdict[tuple[str, str, int | None], float](float)
    for source in dict.fromkeys((each.consumer, each.version) for each in first):
        of = [each for each in first if (each.consumer, each.version) == source]
        rate, free = _split_rate(of, share, usual), share(filter(_is_free, of))
        parts[Reason.SPLIT, *source] = free.mean * rate.change
        parts[TRAFFIC, *source] = share(of).change * (rate.mean - usual.mean)
        for each in of:
            grew, in_batch = share([each]).change, each.lane == Lane.BATCH
            if each.reason != Reason.SPLIT:
                otherwise = 0.0 if each.reason in KEPT else rate.mean
                parts[each.reason, *source] += grew * (in_batch - otherwise)
    batch = share(each for each in first if each.lane == Lane.BATCH)
    for each in counts:
        if each.reason in LATER:
            sign, moved = LATER[Reason(each.reason)], share([each])
            parts[each.reason, each.consumer, each.version] += sign * moved.change
            batch = _Both(batch.before + sign * moved.before, batch.now + sign * moved.now)
    told = [MixPart(*key, change) for key, change in parts.items() if change]
    return MixChange(*whole, *batch, told)


class _Both(NamedTuple):
    """A share of the items, before and now."""

    before: float
    now: float

    @property
    def change(self) -> float:
        return self.now - self.before

    @property
    def mean(self) -> float:
        return (self.before + self.now) / 2


def _is_free(of: RoutedCount) -> bool:
    """Return whether the split decided, or would have decided without a guard."""
    return of.reason == Reason.SPLIT or of.reason in KEPT


def _split_rate(
    of: Sequence[RoutedCount], share: Callable[[Iterable[RoutedCount]], _Both], otherwise: _Both
) -> _Both:
    """Return the split's batch rate; a period without such items uses the rate of the other period, or else `otherwise`."""
    pool = share(filter(_is_free, of))
    batch = share(each for each in of if each.reason == Reason.SPLIT and each.lane == Lane.BATCH)
    rates = [part / whole if whole else None for part, whole in zip(batch, pool, strict=True)]
    known = [each for each in rates if each is not None]
    return _Both(*(known[0] if each is None else each for each in rates)) if known else otherwise


def sentence(workload: str, of: MixChange | None, because: Callable[[str], str]) -> str:
    """Return the change and its reasons in one sentence; `because` returns the events to append to a reason, or ""."""
    if of is None:
        return f"{workload} had no items in one of the periods: there is nothing to compare."
    found = defaultdict[tuple[str, str], float](float)
    for each in of.parts:
        found[each.reason, each.consumer] += each.change
    large = sorted(found.items(), key=lambda each: -abs(each[1]))
    # True: in the direction of the change; False: against it
    named = {True: list[str](), False: list[str]()}
    for (reason, consumer), change in large:
        if abs(change) >= LEAST_PART:
            what = f"the {TRAFFIC}" if reason == TRAFFIC else f"`{reason}`"
            whose = f" from consumer {consumer}" if consumer else ""
            points = f"{round(abs(100 * change), 1):g} points by {what}{whose}{because(reason)}"
            named[change * of.change > 0].append(points)
    if abs(of.change) < LEAST_PART:
        return f"Batch share of {workload} stayed at {units.share(of.now)}."
    verb = "rose" if of.change > 0 else "fell"
    said = (
        f"Batch share of {workload} {verb} from {units.share(of.before)} to {units.share(of.now)}"
    )
    said += f": {', '.join(named[True][:MOST_NAMED])}" if named[True] else ""
    return f"{said}{f'; against it {named[False][0]}' if named[False] else ''}."
