"""The uncertainty of an advice's figures: 95 % intervals from the differences between the days of the period.

Method: the jackknife that leaves out one day at a time, with Student's t of one degree of freedom less than there are days. For
a figure theta of n days, with theta_i without day i and m their mean: theta +- t * sqrt((n - 1) / n * sum((theta_i - m)^2)).
Source: Tukey 1958; Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 11.

Whole days are left out, so that the calls of one day may be correlated in any way; cost per item, discount and volume enter r*
and the break-even volume together, as they occurred on each day. A figure that was not measured has no interval: a price that
is only estimated, or any figure with less than a week of days. The monthly overhead of the lanes is the amount that was set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import fsum, inf, isfinite, sqrt

from lanes.advice import evidence
from lanes.advice.plans import BreakEven
from lanes.advice.recommendation import Advice


@dataclass(frozen=True)
class Interval:
    """The interval that contains the true figure with 95 % confidence; `high` may be infinite."""

    low: float
    high: float

    def holds(self, figure: float) -> bool:
        """Return whether the figure lies within the interval."""
        return self.low <= figure <= self.high


@dataclass(frozen=True)
class Spread:
    """The intervals: US dollars per item, items a month, break-even share and volume; None if there is no interval."""

    days: int
    items_per_month: Interval | None = None  # also None if the volume was stated
    # The provider's part; the two fields after these are the whole cost of an item on a lane.
    realtime_usd: Interval | None = None
    batch_usd: Interval | None = None
    realtime_total_usd: Interval | None = None
    batch_total_usd: Interval | None = None
    share: Interval | None = None
    volume: Interval | None = None

    def pays(self, advice: Advice) -> bool | None:
        """Return whether a second lane surely pays off, or surely does not; None if neither is certain."""
        if self.share is None or advice.needs is None:
            return None
        if advice.needs.high < self.share.low:
            return True
        return False if advice.needs.low > self.share.high else None


def spread(advice: Advice) -> Spread:
    """Return the intervals of the figures in the advice."""
    measurements, even, needs = advice.evidence, advice.break_even, advice.needs
    days = (
        [] if measurements is None else [each for each in measurements.days_seen if each.length > 0]
    )
    if measurements is None or even is None or needs is None or len(days) < evidence.MIN_WHOLE_DAYS:
        return Spread(len(days))
    stated = advice.items_per_month if advice.is_volume_stated else None
    whole = _month(measurements, even, stated)
    months = [_month(_without(measurements, day), even, stated) for day in days]
    if whole is None or any(each is None or each[1] != whole[1] for each in months):
        return Spread(len(days))
    known = [each[0] for each in months if each is not None]
    now = whole[0]

    def of(figure: Callable[[BreakEven], float], *, least: float = -inf) -> Interval | None:
        return _jackknife([figure(each) for each in known], figure(now), least)

    waiting = 1 - needs.low
    volume_priced = None if stated is not None else of(lambda month: month.items, least=0)
    if whole[1] == ("estimated", "estimated"):
        return Spread(len(days), volume_priced)
    saved = of(lambda month: month.realtime_usd * month.discount)
    possible = of(lambda month: month.items * month.realtime_usd * month.discount)

    def total(price: float, fixed_usd: float, items: float) -> float:
        return price + fixed_usd / items if items > 0 else inf

    return Spread(
        len(days),
        volume_priced,
        of(lambda month: month.realtime_usd, least=0),
        of(lambda month: month.batch_usd, least=0),
        of(lambda month: total(month.realtime_usd, month.realtime_fixed_usd, month.items), least=0),
        of(lambda month: total(month.batch_usd, month.fixed_usd, month.items * waiting), least=0),
        _map_interval(possible, lambda usd: 1 - even.fixed_usd / usd if usd > 0 else -inf),
        _map_interval(
            saved, lambda usd: even.fixed_usd / (usd * waiting) if usd > 0 and waiting > 0 else inf
        ),
    )


def _month(
    measurements: evidence.Evidence, even: BreakEven, stated: float | None
) -> tuple[BreakEven, tuple[str, str]] | None:
    """Return the month from the measurements, and the basis of its prices."""
    priced, items = (
        evidence.prices(measurements),
        stated if stated is not None else evidence.project_items(measurements),
    )
    if priced is None or items is None:
        return None
    return replace(
        even, items=items, realtime_usd=priced.realtime_usd, discount=priced.discount
    ), _basis(priced)


def _basis(priced: evidence.Prices) -> tuple[str, str]:
    return priced.realtime_basis, priced.batch_basis


def _without(measurements: evidence.Evidence, day: evidence.DayUse) -> evidence.Evidence:
    return replace(
        measurements,
        items=measurements.items - day.items,
        days=measurements.days - day.length,
        realtime=_less(measurements.realtime, day.realtime),
        batch=_less(measurements.batch, day.batch),
    )


def _less(use: evidence.LaneUse, day: evidence.LaneUse) -> evidence.LaneUse:
    return replace(
        use,
        answered=use.answered - day.answered,
        billed_usd=max(0.0, use.billed_usd - day.billed_usd),
        list_usd=max(0.0, use.list_usd - day.list_usd),
    )


def _jackknife(without: Sequence[float], figure: float, least: float) -> Interval | None:
    """Return a figure's interval from its values without each day; the low end is at least `least`."""
    if not all(isfinite(each) for each in (*without, figure)):
        return None
    # The import takes half a second, and only an interval needs it.
    from scipy.special import stdtrit

    n = len(without)
    mean = fsum(without) / n
    error = sqrt((n - 1) / n * fsum((each - mean) ** 2 for each in without))
    margin = float(stdtrit(n - 1, (1 + evidence.CONFIDENCE) / 2)) * error
    return Interval(max(least, figure - margin), figure + margin)


def _map_interval(interval: Interval | None, to: Callable[[float], float]) -> Interval | None:
    """Return the interval of a monotonic function of a figure."""
    if interval is None:
        return None
    ends = sorted((to(interval.low), to(interval.high)))
    return Interval(ends[0], ends[1])
