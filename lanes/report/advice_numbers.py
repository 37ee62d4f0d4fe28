"""The numbers of an advice as text: break-even with intervals, plans, and the savings by cause."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

from lanes.advice.plans import Plan
from lanes.advice.recommendation import Advice
from lanes.advice.spread import Interval, Spread
from lanes.units import MISSING, dollars, pluralize, share, usd
from lanes.words import Lane

PATTERNS = {
    "realtime": "real-time only",
    "batch": "batch only",
    "hybrid": "hybrid",
    "lambda": "lambda",
}
SURE = "95 %"
UPKEEP = "what keeping it costs, beside the provider's bill"
R_STAR = "with fewer items that need real-time, a second lane pays"
RULE = "a second lane pays below 20 % that need real-time; the ledger uses this workload's r*"


@dataclass(frozen=True)
class Figure:
    """A number with its name and meaning."""

    name: str
    value: str
    meaning: str


def headline(advice: Advice) -> str:
    """Return the recommendation in a few words."""
    return f"{advice.workload}: {pattern(advice)}"


def pattern(advice: Advice) -> str:
    """Return the recommended pattern as words."""
    return "inconclusive" if advice.pattern is None else PATTERNS[advice.pattern]


def plan_name(advice: Advice, plan: Plan) -> str:
    """Return a plan's pattern, marked where it is the recommended one."""
    return PATTERNS[plan.pattern] + (" (recommended)" if plan is advice.plan else "")


def break_even(advice: Advice, intervals: Spread) -> list[Figure]:
    """Return the break-even figures, with their intervals where these are known."""
    needs, even = advice.needs, advice.break_even
    figures: list[Figure] = []

    def add(name: str, value: str, meaning: str) -> None:
        figures.append(Figure(name, value, meaning))

    add("Items a month", _volume(advice, intervals), "at the pace of the period, or as stated")
    add("Batch lane a month", _lane_month(Lane.BATCH, advice), UPKEEP)
    add("Real-time lane a month", _lane_month(Lane.REALTIME, advice), UPKEEP)
    needed = MISSING if needs is None else _between(needs.low, needs.high)
    add("Items that need real-time", needed, "requested, due too soon for a batch, or read at once")
    if even is not None:
        add("Batch is cheaper by", share(even.discount), "of the provider's bill for an item")
        from_share = f"{_share(even.share, ' real-time')}{_surely(intervals.share, _share)}"
        add("Break-even share r*", from_share, R_STAR)
        if needs is not None:
            volume = even.volume(needs.low)
            monthly = (
                f"{pluralize(round(volume), 'item')} a month" if isfinite(volume) else "no volume"
            )
            monthly += _surely(intervals.volume, _items)
            add("A second lane pays from", monthly, "where it saves its own cost")
    add("20 % rule", _rule(advice, intervals), RULE)
    if (each_usd := advice.corrections.each_usd) is not None:
        meaning = "as stated, by the share of its fields that change"
        add("A corrected answer is worth", _worth(advice, each_usd), meaning)
    return figures


def saving_parts(advice: Advice) -> list[tuple[str, Decimal]]:
    """Return the first amount, the saving of each part, and the last amount, in US dollars of the period; empty if unknown.

    The first amount less all parts equals the last exactly. Parts that are zero are left out.
    """
    savings = advice.evidence.savings if advice.evidence else None
    if savings is None:
        return []
    parts = [
        ("packing", savings.packing_usd),
        ("caching", savings.caching_usd),
        ("another model on batch", savings.model_usd),
        ("discount, of what had to be batch", savings.discount_usd),
        ("discount, of what routing sent to batch", savings.routing_usd),
        ("other prices than today's", savings.prices_usd),
        ("second passes", savings.second_usd),
        ("retries", savings.repeats_usd),
    ]
    first, last = ("all real-time, alone, uncached", savings.alone_usd), ("paid", savings.paid_usd)
    return [first, *((name, amount) for name, amount in parts if amount), last]


def saving_rows(advice: Advice) -> list[tuple[str, str, str]]:
    """Return the saving parts as text: the name with "saved by" or "added by", the amount, and its share of the first."""
    parts = saving_parts(advice)

    def row(place: int, name: str, amount: Decimal) -> tuple[str, str, str]:
        if 0 < place < len(parts) - 1:
            name = f"{'saved' if amount >= 0 else 'added'} by {name}"
        whole = parts[0][1]
        return name, usd(abs(amount)), share(float(abs(amount) / whole)) if whole else MISSING

    return [row(place, *part) for place, part in enumerate(parts)]


def describe_assumed_costs(advice: Advice) -> str:
    """Return a sentence that lists the assumed monthly costs of the lanes; empty if all are set."""
    of_lane = {lane: PATTERNS[lane].removesuffix(" only") for lane in Lane}
    names = [f"{of_lane[lane]} {kind}" for lane, kind in advice.overheads.assumed]
    if names:
        return f"Assumed monthly costs: {', '.join(names)}. Set them with `lanes overhead set`."
    return ""


def uncertainty(intervals: Spread) -> str:
    """Return the basis of the intervals, or the reason why there are none."""
    if intervals.realtime_usd is not None:
        return f"Intervals hold with {SURE} confidence, by how {intervals.days} days differ (jackknife by days)."
    return f"No intervals: {pluralize(intervals.days, 'day')} seen; they need 7 with billed calls."


def interval(found: Interval | None) -> str:
    """Return both ends of an interval of US dollars."""
    if found is None:
        return MISSING
    high = dollars(found.high) if isfinite(found.high) else "any"
    return f"{dollars(found.low)} to {high}"


def _volume(advice: Advice, intervals: Spread) -> str:
    if advice.items_per_month is None:
        return MISSING
    how = "stated" if advice.is_volume_stated else "projected"
    return f"{round(advice.items_per_month):,} ({how}){_surely(intervals.items_per_month, _items)}"


def _lane_month(lane: Lane, advice: Advice) -> str:
    return advice.overheads.of(lane).removeprefix(f"{lane} ")


def _worth(advice: Advice, each_usd: float) -> str:
    corrections, text = advice.corrections, dollars(each_usd)
    if corrections.distance == 1:
        return text
    return f"{text}: {share(corrections.distance)} of its fields change, {dollars(corrections.whole_usd)} for all"


def _rule(advice: Advice, intervals: Spread) -> str:
    """Return the verdict of the 20 % rule, the verdict of the ledger and its certainty, and whether the two agree."""
    rule, unsure = advice.rule, "not enough data to compare"
    words = {True: "a second lane pays", False: "it does not pay", None: "undecided"}
    verdict = {True: "they agree", False: "the rule misleads here", None: unsure}
    of_rule, of_ledger = words[rule.says_hybrid], words[rule.computed_hybrid]
    text = f"the rule says: {of_rule}; the ledger says: {of_ledger}"
    if intervals.share is not None and rule.computed_hybrid is not None:
        text += ", not surely" if intervals.pays(advice) is None else ", surely"
    return f"{text}; {verdict[rule.agrees]}"


def _surely(found: Interval | None, format_bound: Callable[[float], str]) -> str:
    if found is None:
        return ""
    low, high = format_bound(found.low), format_bound(found.high)
    return f"; {SURE} surely" if low == high else f"; {SURE}: {low} to {high}"


def _share(break_even: float, of: str = "") -> str:
    return "none: it never pays" if break_even <= 0 else share(break_even) + of


def _items(number: float) -> str:
    return f"{round(number):,}" if isfinite(number) else "none"


def _between(low: float, high: float) -> str:
    if share(low) == share(high):
        return share(low)
    return f"{share(low)} to {share(high)}, depending on unrecorded reads"
