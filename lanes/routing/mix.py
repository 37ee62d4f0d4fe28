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
    first = [count for count in counts if count.reason not in LATER]
    whole = sum(count.before for count in first), sum(count.now for count in first)
    if not all(whole):
        return None

    def share(source_counts: Iterable[RoutedCount]) -> _Both:
        some = list(source_counts)
        before, now = sum(count.before for count in some), sum(count.now for count in some)
        return _Both(before / whole[0], now / whole[1])

    usual = _split_rate(first, share, _Both(0.5, 0.5))
    parts = defaultdict[tuple[str, str, int | None], float](float)
    for source in dict.fromkeys((count.consumer, count.version) for count in first):
        source_counts = [count for count in first if (count.consumer, count.version) == source]
        rate, free = (
            _split_rate(source_counts, share, usual),
            share(filter(_is_free, source_counts)),
        )
        parts[Reason.SPLIT, *source] = free.mean * rate.change
        parts[TRAFFIC, *source] = share(source_counts).change * (rate.mean - usual.mean)
        for count in source_counts:
            grew, in_batch = share([count]).change, count.lane == Lane.BATCH
            if count.reason != Reason.SPLIT:
                otherwise = 0.0 if count.reason in KEPT else rate.mean
                parts[count.reason, *source] += grew * (in_batch - otherwise)
    batch = share(count for count in first if count.lane == Lane.BATCH)
    for count in counts:
        if count.reason in LATER:
            sign, moved = LATER[Reason(count.reason)], share([count])
            parts[count.reason, count.consumer, count.version] += sign * moved.change
            batch = _Both(batch.before + sign * moved.before, batch.now + sign * moved.now)
    changes = [MixPart(*key, change) for key, change in parts.items() if change]
    return MixChange(*whole, *batch, changes)


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
    counts: Sequence[RoutedCount], share: Callable[[Iterable[RoutedCount]], _Both], otherwise: _Both
) -> _Both:
    """Return the split's batch rate; a period without such items uses the rate of the other period, or else `otherwise`."""
    pool = share(filter(_is_free, counts))
    batch = share(
        each for each in counts if each.reason == Reason.SPLIT and each.lane == Lane.BATCH
    )
    rates = [part / whole if whole else None for part, whole in zip(batch, pool, strict=True)]
    known = [each for each in rates if each is not None]
    return _Both(*(known[0] if each is None else each for each in rates)) if known else otherwise


def sentence(workload: str, mix_change: MixChange | None, because: Callable[[str], str]) -> str:
    """Return the change and its reasons in one sentence; `because` returns the events to append to a reason, or ""."""
    if mix_change is None:
        return f"{workload} had no items in one of the periods: there is nothing to compare."
    totals = defaultdict[tuple[str, str], float](float)
    for each in mix_change.parts:
        totals[each.reason, each.consumer] += each.change
    large = sorted(totals.items(), key=lambda each: -abs(each[1]))
    # True: in the direction of the change; False: against it
    phrases = {True: list[str](), False: list[str]()}
    for (reason, consumer), change in large:
        if abs(change) >= LEAST_PART:
            what = f"the {TRAFFIC}" if reason == TRAFFIC else f"`{reason}`"
            whose = f" from consumer {consumer}" if consumer else ""
            points = f"{round(abs(100 * change), 1):g} points by {what}{whose}{because(reason)}"
            phrases[change * mix_change.change > 0].append(points)
    if abs(mix_change.change) < LEAST_PART:
        return f"Batch share of {workload} stayed at {units.share(mix_change.now)}."
    verb = "rose" if mix_change.change > 0 else "fell"
    text = f"Batch share of {workload} {verb} from {units.share(mix_change.before)} to {units.share(mix_change.now)}"
    text += f": {', '.join(phrases[True][:MOST_NAMED])}" if phrases[True] else ""
    return f"{text}{f'; against it {phrases[False][0]}' if phrases[False] else ''}."
