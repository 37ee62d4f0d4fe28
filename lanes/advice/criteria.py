"""The criteria of the decision framework: for each, the observed evidence as a sentence, and the pattern that it favors."""

from dataclasses import replace
from math import isfinite
from statistics import mean, pstdev

from lanes.advice.evidence import (
    AT_ONCE_S,
    LATE_SHARE,
    MIN_COMPARED,
    MIN_ITEMS,
    MIN_READS,
    MIN_WHOLE_DAYS,
    RECORDING,
    ConsumerUse,
    Criterion,
    Evidence,
    Leaning,
    Pattern,
    RealtimeNeed,
    decay,
)
from lanes.advice.plans import BreakEven, Corrections, cheapest, correction_price_usd, possible
from lanes.units import count, dollars, pluralize, seconds, share

UNPRICED = "no monthly volume or no price is known"
MOST = 0.5
MIN_TIMED = 20  # the fewest latencies from which a p95 is meaningful
STEADY, ERRATIC = 0.5, 1.0  # of daily arrivals: standard deviation over mean
MIXED = (0.05, 0.95)  # between these shares of real-time need, a workload has both kinds of items


def criteria(
    evidence: Evidence, needs: RealtimeNeed | None, even: BreakEven | None, corrections: Corrections
) -> list[Criterion]:
    """Return every criterion of the framework, in its order: real-time, batch, hybrid, Lambda."""
    readers = [each for each in evidence.consumers if each.at_once_share is not None]
    return [
        _a_reader_waits(evidence, readers),
        _value_decays(evidence),
        _fits_limits(evidence),
        _budget(evidence, even, needs),
        _judge_urgency(evidence),
        _read_later(evidence, readers),
        _is_large(even, needs),
        _is_predictable(evidence),
        _cost_matters(even, needs),
        _off_peak(evidence, needs),
        _hours_are_fine(evidence, readers),
        _urgency_differs(needs, evidence),
        _is_corrected(evidence, even, needs, corrections),
    ]


def _a_reader_waits(evidence: Evidence, readers: list[ConsumerUse]) -> Criterion:
    at_once, phrase = sum(each.at_once for each in readers), f"within {AT_ONCE_S} s"
    leanings = Leaning.REALTIME, Leaning.BATCH
    return _judge_by_reads(evidence, readers, "A reader waits", at_once, phrase, leanings)


def _judge_by_reads(
    evidence: Evidence,
    readers: list[ConsumerUse],
    name: str,
    hits: int,
    phrase: str,
    leanings: tuple[Leaning, Leaning],
) -> Criterion:
    """Evaluate `part`, a number of recorded reads, as a share of all answers; each unknown read may or may not belong to it."""
    if not readers:
        every = pluralize(sum(each.reads for each in evidence.consumers), "read")
        phrase = f"{every} recorded; {MIN_READS} of one consumer are needed"
        return _explain_reads(evidence, name, phrase, Leaning.UNKNOWN)
    reads = sum(each.reads for each in readers)
    answers = sum(each.answers for each in evidence.consumers)
    leaning = _lean_by_half(hits / answers, (hits + answers - reads) / answers, leanings)
    phrase = f"{share(hits / reads)} were read {phrase} (of {pluralize(reads, 'answer')} with a recorded read)"
    return _explain_reads(evidence, name, phrase, leaning)


def _explain_reads(evidence: Evidence, name: str, sentence: str, leaning: Leaning) -> Criterion:
    """Return a criterion that also states how many reads are unknown and, if it is undecided, how reads are recorded."""
    unknown = sum(each.unknown for each in evidence.consumers)
    answers = sum(each.answers for each in evidence.consumers)
    sentence += f"; the reads of {count(unknown)} of {pluralize(answers, 'answer')} are unknown"
    if leaning is Leaning.UNKNOWN:
        sentence += f": results taken by {RECORDING} are recorded as read"
    return Criterion(name, sentence, leaning)


def _lean_by_half(least: float, most: float, leanings: tuple[Leaning, Leaning]) -> Leaning:
    """Return the first leaning for a share of at least half, else the second; unknown if `least` to `most` allow both."""
    if least >= MOST:
        return leanings[0]
    return leanings[1] if most < MOST else Leaning.UNKNOWN


def _value_decays(evidence: Evidence) -> Criterion:
    name, items = "Value decays quickly", evidence.items
    if items < MIN_ITEMS:
        return _too_few(name, items)
    early = share(evidence.due_before_batch / items)
    finding = (
        f"{share(evidence.urgent / items)} of {pluralize(items, 'item')} are marked urgent, {share(evidence.with_due / items)} "
        f"have a due time, {early} are due before a batch is likely enough back ({seconds(evidence.batch_expected_s)})"
    )
    pressing = max(evidence.urgent, evidence.due_before_batch) / items
    fitted = decay(evidence.consumers)
    if fitted is not None:
        finding += f"; by recorded reads it halves in {seconds(fitted.half_life_s)} ({fitted.interval_text})"
    if pressing >= MOST:
        return Criterion(name, finding, Leaning.REALTIME)
    is_quick = False if fitted is None else fitted.is_quick(evidence.batch_expected_s)
    by_reads = {True: Leaning.REALTIME, False: Leaning.BATCH, None: Leaning.UNKNOWN}
    return Criterion(name, finding, by_reads[is_quick])


def _fits_limits(evidence: Evidence) -> Criterion:
    """Compare the busiest minute with the scarcest of the limits that the provider reported."""
    name = "Volume fits the rate limits"
    peak = f"at most {pluralize(evidence.peak_per_minute, 'item')} came in one minute"
    scarcest = evidence.scarcest
    if scarcest is None:
        return Criterion(
            name, f"{peak}; no answer of the provider told its limits yet", Leaning.UNKNOWN
        )
    if evidence.items < MIN_ITEMS:
        return _too_few(name, evidence.items)
    usage = evidence.peak_share(scarcest)
    sentence = (
        f"{peak}: {share(usage)} of the limit of {count(scarcest.per_minute)} {scarcest.name} a minute, of which "
        f"{share(scarcest.left / scarcest.per_minute)} were left {seconds(scarcest.told_s)} ago"
    )
    return Criterion(name, sentence, Leaning.REALTIME if usage <= 1 else Leaning.BATCH)


def _budget(evidence: Evidence, even: BreakEven | None, needs: RealtimeNeed | None) -> Criterion:
    """Compare the provider's bill with the tightest budget, because budgets limit that bill."""
    name = "Volume fits the budget"
    if even is None:
        return Criterion(name, UNPRICED, Leaning.UNKNOWN)
    bill, allowed = even.bill(even.items, 1), evidence.budget_month_usd
    sentence = f"all of it on real-time would bill {dollars(bill)} a month"
    if needs is not None:
        sentence += f", both lanes {dollars(even.bill(even.items, needs.low))}"
    sentence += "; "
    if allowed is None:
        return Criterion(name, f"{sentence}no budget is recorded", Leaning.UNKNOWN)
    fits = bill <= allowed
    sentence += f"its budget allows {dollars(allowed)}" + (
        "" if fits else f", {share(allowed / bill)} of that"
    )
    return Criterion(name, sentence, Leaning.REALTIME if fits else Leaning.BATCH)


def _judge_urgency(evidence: Evidence) -> Criterion:
    name, items = "An answer in under 5 s is needed", evidence.items
    if items < MIN_ITEMS:
        return _too_few(name, items)
    if evidence.with_due < MIN_ITEMS:
        sentence = (
            f"only {pluralize(evidence.with_due, 'item')} of {count(items)} say when they are due"
        )
        return Criterion(name, sentence, Leaning.UNKNOWN)
    part = evidence.due_within_5s / items
    sentence = f"{share(part)} of {pluralize(items, 'item')} are due within 5 s"
    if evidence.realtime.p95_s is not None and evidence.realtime.timed >= MIN_TIMED:
        sentence += f"; real-time answers 95 % within {seconds(evidence.realtime.p95_s)}"
    return Criterion(name, sentence, Leaning.REALTIME if part >= MOST else Leaning.BATCH)


def _read_later(evidence: Evidence, readers: list[ConsumerUse]) -> Criterion:
    name, consumers = "Results are read asynchronously", evidence.consumers
    if not readers:
        sentence = "no consumer has enough recorded reads"
        return _explain_reads(evidence, name, sentence, Leaning.UNKNOWN)
    answers = sum(each.answers for each in consumers)
    late = [each for each in consumers if each.at_once_bounds.high < LATE_SHARE]
    least = sum(each.answers for each in late) / answers
    most = sum(each.answers for each in consumers if each.at_once_bounds.low < LATE_SHARE) / answers
    sentence = (
        f"{len(late)} of {pluralize(len(readers), 'consumer')} with enough reads take fewer than {share(LATE_SHARE)} of their "
        f"results at once; {share(least)} of {pluralize(answers, 'answer')} are theirs"
    )
    leaning = _lean_by_half(least, most, (Leaning.BATCH, Leaning.REALTIME))
    return _explain_reads(evidence, name, sentence, leaning)


def _is_large(even: BreakEven | None, needs: RealtimeNeed | None) -> Criterion:
    name = "Volume is large"
    if even is None or needs is None:
        return Criterion(name, UNPRICED, Leaning.UNKNOWN)
    enough = even.volume(needs.low)
    if not isfinite(enough):
        return Criterion(
            name, "no volume would do: batch saves nothing on these items", Leaning.REALTIME
        )
    finding = f"{_items(even.items)} a month; the second lane pays from {_items(enough)}"
    return Criterion(name, finding, Leaning.BATCH if even.items >= enough else Leaning.REALTIME)


def _is_predictable(evidence: Evidence) -> Criterion:
    name, days = "Arrivals are predictable", evidence.days_arrivals
    if len(days) < MIN_WHOLE_DAYS or not sum(days):
        finding = f"{pluralize(len(days), 'whole day')} seen; {MIN_WHOLE_DAYS} are needed"
        return Criterion(name, finding, Leaning.UNKNOWN)
    spread = pstdev(days) / mean(days)
    finding = f"{mean(days):,.0f} items a day over {len(days)} days, give or take {share(spread)}"
    if STEADY < spread <= ERRATIC:
        return Criterion(name, finding + ": neither steady nor erratic", Leaning.UNKNOWN)
    return Criterion(name, finding, Leaning.BATCH if spread <= STEADY else Leaning.REALTIME)


def _cost_matters(even: BreakEven | None, needs: RealtimeNeed | None) -> Criterion:
    name = "Cost matters more than speed"
    if even is None or needs is None:
        return Criterion(name, UNPRICED, Leaning.UNKNOWN)
    net, saving = even.net(needs.low), even.saving(needs.low)
    effect = f"save {dollars(saving)}" if saving >= 0 else f"add {dollars(-saving)} to the bill"
    finding = (
        f"a hybrid would {effect} a month and cost {dollars(even.fixed_usd)} to run: "
        f"{dollars(abs(net))} {'gained' if net > 0 else 'lost'}"
    )
    if (net > 0) != (even.net(needs.high) > 0):
        return Criterion(
            name, finding + ", if the items whose reads are unknown can wait", Leaning.UNKNOWN
        )
    return Criterion(name, finding, Leaning.BATCH if net > 0 else Leaning.REALTIME)


def _off_peak(evidence: Evidence, needs: RealtimeNeed | None) -> Criterion:
    name = "Work can run off-peak"
    if needs is None:
        return Criterion(name, "nothing was routed", Leaning.UNKNOWN)
    least, most = 1 - needs.high, 1 - needs.low
    sentence = (
        f"{_between(least, most)} of the items are tied to no urgency, due time or waiting reader"
    )
    sentence += f"; {_headroom(evidence, least)}"
    return Criterion(name, sentence, _lean_by_half(least, most, (Leaning.BATCH, Leaning.REALTIME)))


def _headroom(evidence: Evidence, waiting: float) -> str:
    """Return the benefit of moving the share `waiting` of the busiest minute to another time, as a sentence."""
    sentence = "off-peak has no price of its own here: its worth is headroom"
    scarcest = evidence.scarcest
    if scarcest is None or not evidence.peak_per_minute:
        return f"{sentence}, and no limit of the provider is known"
    takes = evidence.peak_share(scarcest)
    free_now, free_off_peak = max(0.0, 1 - takes), max(0.0, 1 - takes * (1 - waiting))
    return (
        f"{sentence}: in the busiest minute {share(free_off_peak)} of {count(scarcest.per_minute)} {scarcest.name} stay free "
        f"with them at another time, {share(free_now)} with all in real-time"
    )


def _hours_are_fine(evidence: Evidence, readers: list[ConsumerUse]) -> Criterion:
    name = "Minutes to hours are fine"
    slow = evidence.batch.p95_s if evidence.batch.timed >= MIN_TIMED else None
    takes = f"; batch answers 95 % within {seconds(slow)}" if slow is not None else ""
    later, finding = sum(each.later for each in readers), "after an hour or more"
    leanings = Leaning.BATCH, Leaning.REALTIME
    criterion = _judge_by_reads(evidence, readers, name, later, finding, leanings)
    if criterion.leaning is not Leaning.UNKNOWN:
        return replace(criterion, evidence=criterion.evidence + takes)
    if evidence.with_due >= MIN_ITEMS:
        early = evidence.due_before_batch / evidence.with_due
        finding = f"{share(early)} of {pluralize(evidence.with_due, 'due time')} come before a batch is back"
        return Criterion(
            name, finding + takes, Leaning.REALTIME if early >= MOST else Leaning.BATCH
        )
    return replace(criterion, evidence=f"{criterion.evidence}; too few due times{takes}")


def _urgency_differs(needs: RealtimeNeed | None, evidence: Evidence) -> Criterion:
    name = "Inputs of one system differ in urgency"
    routed = sum(each.routed for each in evidence.consumers)
    if needs is None or routed < MIN_ITEMS:
        return _too_few(name, routed)
    finding = f"{_between(needs.low, needs.high)} of {pluralize(routed, 'item')} need real-time"
    kinds = {_kind(needs.low), _kind(needs.high)}
    return Criterion(name, finding, kinds.pop() if len(kinds) == 1 else Leaning.UNKNOWN)


def _kind(need: float) -> Leaning:
    if need < MIXED[0]:
        return Leaning.BATCH
    return Leaning.REALTIME if need > MIXED[1] else Leaning.HYBRID


def _is_corrected(
    evidence: Evidence, even: BreakEven | None, needs: RealtimeNeed | None, corrections: Corrections
) -> Criterion:
    """Compare the share of answers that were corrected with the cost of a second pass for each correction."""
    name, part = "A later, authoritative pass changes answers", evidence.corrected_share
    if part is None:
        sentence = f"{pluralize(evidence.compared, 'answer')} compared; {MIN_COMPARED} are needed"
        return Criterion(name, sentence, Leaning.UNKNOWN)
    sentence = (
        f"{share(part)} of {pluralize(evidence.compared, 'provisional answer')} were corrected"
    )
    if part <= 0:
        return Criterion(
            name, f"{sentence}: a second pass is not worth its price", Leaning.REALTIME
        )
    if evidence.distance is not None:
        sentence += f", {share(evidence.distance)} of their fields"
    if even is None or needs is None:
        return Criterion(
            name, f"{sentence}; what one costs hangs on the volume and the price", Leaning.UNKNOWN
        )
    if needs.low <= 0:
        return Criterion(name, f"{sentence}; no item needs an answer before it", Leaning.BATCH)
    plans = possible(needs.low, even, corrections)
    price = correction_price_usd(plans)
    if price is None:
        return Criterion(name, f"{sentence}; no items are expected", Leaning.UNKNOWN)
    sentence += f"; the second pass costs {dollars(even.batch_usd)} an item, {dollars(price)} for each that it corrects"
    if corrections.each_usd is None:
        return Criterion(name, f"{sentence}; what one is worth is not stated", Leaning.UNKNOWN)
    pays = cheapest(plans, corrections).pattern is Pattern.LAMBDA
    sentence += f", worth {dollars(corrections.each_usd)}: {'' if pays else 'not '}worth its price"
    return Criterion(name, sentence, Leaning.LAMBDA if pays else Leaning.REALTIME)


def _too_few(name: str, items: int) -> Criterion:
    return Criterion(
        name, f"{pluralize(items, 'item')} seen; {MIN_ITEMS} are needed", Leaning.UNKNOWN
    )


def _between(low: float, high: float) -> str:
    return share(low) if share(low) == share(high) else f"{share(low)} to {share(high)}"


def _items(number: float) -> str:
    return pluralize(round(number), "item")
