"""The advice in sentences and rows: what the artifact and the terminal both show."""

from collections.abc import Callable
from decimal import Decimal
from math import isfinite

from lanes.advice.evidence import MIN_BILLED
from lanes.advice.plans import Plan
from lanes.advice.recommendation import Advice
from lanes.advice.spread import Interval, Spread
from lanes.money.overhead import Overheads
from lanes.units import MISSING, counted, dollars, seconds, sentence, share, usd
from lanes.words import Lane

PATTERNS = {
    "realtime": "real-time only",
    "batch": "batch only",
    "hybrid": "hybrid",
    "lambda": "lambda",
}
LANE_HEADINGS = (
    "Lane",
    "API",
    "Infrastructure",
    "Engineering",
    "Total",
    "Total with 95 %",
    "API price",
)
LOST = "Lost by wrong answers"
PLAN_HEADINGS = ("A month", "In real-time", "Provider", "Lanes", "Paid", LOST)
SAVING_HEADINGS = ("Counted in this order", "USD", "Of the first")
CASE_HEADINGS = ("If", "Recommended", "Paid a month", "Note")
CONSUMER_HEADINGS = (
    "Consumer",
    "Reads",
    "Median until read",
    "Within 60 s, of all",
    "Never read",
    "Items on real-time",
)
SURE = "95 %"
SAVED = (
    "All parts add up to the whole. Shared tokens are estimated from instructions and schema; "
    "shadows and replays are left out."
)


def headline(advice: Advice) -> str:
    """The recommendation in a few words."""
    return f"{advice.workload}: {pattern(advice)}"


def pattern(advice: Advice) -> str:
    """The recommended pattern as words."""
    return "inconclusive" if advice.pattern is None else PATTERNS[advice.pattern]


def reason(advice: Advice) -> str:
    """Why, as a sentence."""
    return sentence(advice.because)


def of_version(advice: Advice) -> str:
    """Return which version the figures are about, and what they lack of it; empty where nothing has to be said."""
    seen = advice.evidence
    if seen is None or not seen.is_mixed:
        return ""
    own = seen.realtime.answered + seen.batch.answered
    said = (
        f"About version {seen.version}, which is in force: {counted(own, 'answer')} of it; "
        f"{counted(seen.of_others, 'answer')} of other versions are left out of costs, "
        "tokens and corrections, and what was saved is not told apart"
    )
    if any(each.basis == "estimated" for each in advice.lanes):
        said += f". Too few of its answers were billed ({MIN_BILLED} on a lane are needed): prices are estimates"
    return f"{said}."


def compared(advice: Advice) -> str:
    """The recommended month beside the one as it is, as a sentence."""
    return sentence(advice.against)


def lane_rows(advice: Advice, known: Spread) -> list[tuple[str, ...]]:
    """Each lane: name, API, infrastructure, engineering and total for an item in US dollars, the interval of the total, and
    what the price rests on."""
    totals = {Lane.REALTIME: known.realtime_total_usd, Lane.BATCH: known.batch_total_usd}
    return [
        (
            PATTERNS[each.lane].removesuffix(" only"),
            dollars(each.api_usd),
            dollars(each.infra_usd),
            dollars(each.engineering_usd),
            dollars(each.total_usd),
            _range(totals[each.lane]),
            each.basis,
        )
        for each in advice.lanes
    ]


def break_even_rows(advice: Advice, known: Spread) -> list[tuple[str, str]]:
    """The numbers of the break-even, each with its name, and with the interval in which it surely lies where that is known."""
    volume, overheads, needs, even = (
        advice.items_per_month,
        advice.overheads,
        advice.needs,
        advice.break_even,
    )
    how = "stated" if advice.is_volume_stated else "projected"
    projected = (
        MISSING
        if volume is None
        else f"{round(volume):,} ({how}){_surely(known.items_per_month, _items)}"
    )
    rows = [
        ("Items a month", projected),
        ("Batch lane a month", _lane_month(Lane.BATCH, overheads)),
        ("Real-time lane a month", _lane_month(Lane.REALTIME, overheads)),
        ("Items that need real-time", MISSING if needs is None else between(needs.low, needs.high)),
    ]
    if even is not None:
        rows += [
            ("Batch is cheaper by", share(even.discount)),
            (
                "Break-even share r*",
                f"{_share(even.share, ' real-time')}{_surely(known.share, _share)}",
            ),
        ]
        if needs is not None:
            from_ = even.volume(needs.low)
            said = f"{counted(round(from_), 'item')} a month" if isfinite(from_) else "no volume"
            rows.append(("A second lane pays from", f"{said}{_surely(known.volume, _items)}"))
    rows.append(("20 % rule", rule(advice, known)))
    each_usd = advice.corrections.each_usd
    return (
        rows
        if each_usd is None
        else [*rows, ("A corrected answer is worth", _worth(advice, each_usd))]
    )


def plan_rows(advice: Advice) -> list[tuple[str, ...]]:
    """Return a month as it is and as it could be: share in real-time, the provider, the lanes, both, and what wrong answers
    lose, where it is stated what one costs."""
    if advice.now is None:
        return []
    named = [("as it is: " + PATTERNS[advice.now.pattern], advice.now)]
    named += [(plan_name(advice, each), each) for each in advice.plans]
    return [
        (
            name,
            share(each.share),
            dollars(each.provider_usd),
            dollars(each.lanes_usd),
            dollars(each.paid_usd),
            *(
                ()
                if each.wrong_usd is None
                else (MISSING if advice.corrections.rate is None else dollars(each.wrong_usd),)
            ),
        )
        for name, each in named
    ]


def plan_headings(advice: Advice) -> tuple[str, ...]:
    """Return the headings of `plan_rows`."""
    return PLAN_HEADINGS if advice.corrections.each_usd is not None else PLAN_HEADINGS[:-1]


def plan_name(advice: Advice, plan: Plan) -> str:
    """A plan's pattern, marked where it is the recommended one."""
    return PATTERNS[plan.pattern] + (" (recommended)" if plan is advice.plan else "")


def saving_parts(advice: Advice) -> list[tuple[str, Decimal]]:
    """What each part took off the first, down to the last, in US dollars of the period; empty where it is not known.

    The first less all parts is the last, exactly. Parts that are nothing are left out.
    """
    found = advice.evidence.savings if advice.evidence else None
    if found is None:
        return []
    parts = [
        ("packing", found.packing_usd),
        ("caching", found.caching_usd),
        ("another model on batch", found.model_usd),
        ("discount, of what had to be batch", found.discount_usd),
        ("discount, of what routing sent to batch", found.routing_usd),
        ("other prices than today's", found.prices_usd),
        ("second passes", found.second_usd),
        ("tries again", found.repeats_usd),
    ]
    first, last = ("all real-time, alone, uncached", found.alone_usd), ("paid", found.paid_usd)
    return [first, *((name, amount) for name, amount in parts if amount), last]


def saving_rows(advice: Advice) -> list[tuple[str, str, str]]:
    """The same as rows: the first and the last, and what each part between saved, with its share of the first."""
    parts = saving_parts(advice)
    if not parts:
        return []
    (_, whole), *_ = parts

    def row(name: str, amount: Decimal, place: int) -> tuple[str, str, str]:
        is_part = 0 < place < len(parts) - 1
        named = f"{'saved' if amount >= 0 else 'added'} by {name}" if is_part else name
        return named, usd(abs(amount)), share(float(abs(amount) / whole)) if whole else MISSING

    return [row(name, amount, place) for place, (name, amount) in enumerate(parts)]


def case_rows(advice: Advice) -> list[tuple[str, ...]]:
    """What would be recommended if something were otherwise: the change, the pattern, its month, and what speaks against it."""
    return [
        (
            each.case,
            PATTERNS[each.plan.pattern] if each.holds else "inconclusive",
            dollars(each.plan.paid_usd),
            each.note,
        )
        for each in advice.sensitivities
    ]


def assumed(advice: Advice) -> str:
    """What nobody said of what the lanes take; empty where all is known."""
    of = [
        f"{PATTERNS[lane].removesuffix(' only')} {kind}" for lane, kind in advice.overheads.assumed
    ]
    return (
        f"Assumed of what the lanes take a month: {', '.join(of)}. Say it with `lanes overhead set`."
        if of
        else ""
    )


def uncertainty(known: Spread) -> str:
    """What the intervals rest on, or why there are none."""
    if known.realtime_usd is not None:
        return f"Intervals hold with {SURE} confidence, by how {known.days} days differ (jackknife by days)."
    return f"No intervals: {counted(known.days, 'day')} seen; they need 7 with billed calls."


def _lane_month(lane: Lane, overheads: Overheads) -> str:
    return overheads.of(lane).removeprefix(f"{lane} ")


def _worth(advice: Advice, each_usd: float) -> str:
    of, said = advice.corrections, dollars(each_usd)
    return (
        said
        if of.distance == 1
        else f"{said}: {share(of.distance)} of its fields change, {dollars(of.whole_usd)} for all"
    )


def _range(interval: Interval | None) -> str:
    return MISSING if interval is None else f"{dollars(interval.low)} to {_end(interval.high)}"


def _end(amount: float) -> str:
    return dollars(amount) if isfinite(amount) else "any"


def _surely(interval: Interval | None, said: Callable[[float], str]) -> str:
    if interval is None:
        return ""
    low, high = said(interval.low), said(interval.high)
    return f"; {SURE} surely" if low == high else f"; {SURE}: {low} to {high}"


def _share(break_even: float, of: str = "") -> str:
    return "none: it never pays" if break_even <= 0 else share(break_even) + of


def _items(number: float) -> str:
    return f"{round(number):,}" if isfinite(number) else "none"


def rule(advice: Advice, known: Spread) -> str:
    """What the rule of thumb says, whether this workload's own numbers agree, and how surely."""
    words = {True: "a second lane pays", False: "it does not pay", None: "undecided"}
    said = f"the rule says: {words[advice.rule.says_hybrid]}; the ledger says: {words[advice.rule.computed_hybrid]}"
    if known.share is not None:
        sure = "not surely" if known.pays(advice) is None else "surely"
        said += f", {sure}" if advice.rule.computed_hybrid is not None else ""
    verdict = {
        True: "they agree",
        False: "the rule misleads here",
        None: "not enough data to compare",
    }
    return f"{said}; {verdict[advice.rule.agrees]}"


def consumer_rows(advice: Advice) -> list[tuple[str, ...]]:
    """Who does not read at once: consumer, reads, median until read, share within 60 s, never read, items on real-time."""
    return [
        (
            each.consumer or "nobody named",
            f"{each.reads:,}",
            seconds(each.median_s),
            share(each.at_once_share),
            f"{each.unread:,}",
            f"{each.realtime:,}",
        )
        for each in advice.movable
    ]


def between(low: float, high: float) -> str:
    """A share, or the two ends it lies between."""
    return (
        share(low)
        if share(low) == share(high)
        else f"{share(low)} to {share(high)}, depending on unrecorded reads"
    )
