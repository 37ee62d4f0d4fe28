"""The advice in sentences and rows: what the artifact and the terminal both show."""

from math import isfinite

from lanes.advice.breakeven import Overheads
from lanes.advice.recommendation import Advice
from lanes.units import MISSING, counted, dollars, seconds, share

PATTERNS = {"realtime": "real-time only", "batch": "batch only", "hybrid": "hybrid", "lambda": "lambda"}


def headline(advice: Advice) -> str:
    """The recommendation in a few words."""
    return f"{advice.workload}: {pattern(advice)}"


def pattern(advice: Advice) -> str:
    """The recommended pattern as words."""
    return "inconclusive" if advice.pattern is None else PATTERNS[advice.pattern]


def reason(advice: Advice) -> str:
    """Why, as a sentence."""
    return advice.because[:1].upper() + advice.because[1:] + "."


def lane_rows(advice: Advice) -> list[tuple[str, ...]]:
    """Each lane: name, API, infrastructure, engineering and total for an item in US dollars, and what the price rests on."""
    return [
        (PATTERNS[each.lane].removesuffix(" only"), dollars(each.api_usd), dollars(each.infra_usd),
         dollars(each.engineering_usd), dollars(each.total_usd), each.basis)
        for each in advice.lanes
    ]  # fmt: skip


def break_even_rows(advice: Advice) -> list[tuple[str, str]]:
    """The numbers of the break-even, each with its name."""
    volume, overheads, needs, even = advice.items_per_month, advice.overheads, advice.needs, advice.break_even
    how = "stated" if advice.is_volume_stated else "projected"
    rows = [
        ("Items a month", MISSING if volume is None else f"{round(volume):,} ({how})"),
        ("Batch lane a month", _lane_month(overheads.infra_usd, overheads.engineering_hours, overheads)),
        ("Real-time lane a month",
         _lane_month(overheads.realtime_infra_usd, overheads.realtime_engineering_hours, overheads)),
        ("Items that need real-time", MISSING if needs is None else between(needs.low, needs.high)),
    ]  # fmt: skip
    if even is not None:
        rows += [
            ("Batch is cheaper by", share(even.discount)),
            ("Break-even share r*", "none: it never pays" if even.share <= 0 else f"{share(even.share)} real-time"),
            ("All real-time a month, lane included", dollars(even.realtime_month(even.items))),
        ]
        if needs is not None:
            pays_from = even.volume(needs.low)
            rows += [
                ("Hybrid a month, lanes included", dollars(even.hybrid_month(even.items, needs.low))),
                ("Hybrid pays from", f"{counted(round(pays_from), 'item')} a month" if isfinite(pays_from) else "no volume"),
            ]
    return [*rows, ("20 % rule", rule(advice)), ("A corrected answer is worth", dollars(overheads.correction_usd))]


def _lane_month(infra_usd: float, hours: float, overheads: Overheads) -> str:
    whole = dollars(infra_usd + hours * overheads.hourly_usd)
    return f"{whole}: {dollars(infra_usd)} infrastructure, {hours:g} h at {dollars(overheads.hourly_usd)}"


def rule(advice: Advice) -> str:
    """What the rule of thumb says and whether this workload's own numbers agree."""
    words = {True: "a second lane pays", False: "it does not pay", None: "undecided"}
    said = f"the rule says: {words[advice.rule.says_hybrid]}; the ledger says: {words[advice.rule.computed_hybrid]}"
    verdict = {True: "they agree", False: "the rule misleads here", None: "not enough data to compare"}
    return f"{said}; {verdict[advice.rule.agrees]}"


def consumer_rows(advice: Advice) -> list[tuple[str, ...]]:
    """Who does not read at once: consumer, reads, median until read, share within 60 s, never read, items on real-time."""
    return [
        (each.consumer or "nobody named", f"{each.reads:,}", seconds(each.median_s), share(each.at_once_share),
         f"{each.unread:,}", f"{each.realtime:,}")
        for each in advice.movable
    ]  # fmt: skip


def between(low: float, high: float) -> str:
    """A share, or the two ends it lies between."""
    return share(low) if share(low) == share(high) else f"{share(low)} to {share(high)}, depending on unrecorded reads"
