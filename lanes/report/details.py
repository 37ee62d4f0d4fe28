"""The tables of the report's second page, in one file because each is only a title, its rows and a line for each figure."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lanes.advice.evidence import ConsumerUse
from lanes.advice.recommendation import Advice
from lanes.money.budget import BudgetStatus
from lanes.promises.batches import health, trouble
from lanes.report import advice_numbers, figures, summary
from lanes.report import tables as first_page
from lanes.report.snapshot import Snapshot
from lanes.report.summary import batch_time, reason_name
from lanes.report.table import Column, Table, figure, format_part, label, phrase
from lanes.report.tables import LANE, WORKLOAD, deadline_columns, join_durations, rate_or_dash
from lanes.routing.capacity import Limit
from lanes.statistics.shares import SampleShare
from lanes.units import MISSING, clock, count, pluralize, ratio, seconds, share, usd
from lanes.words import BatchState, FlushReason, ItemState, Lane, Reason

ROUTES, BATCHES = "Routing mix", "Batches"
ADVISED = "items received in the last 30 days"  # the items that advice evaluates
ONLY_COUNTED = "only_counted: those of a source and day after its first 1,000, which are not kept."
STEPS = 6  # blocks in the bar of the fastest batch
STATES = {
    ItemState.RECEIVED: "waits for the router",
    ItemState.ROUTED: "waits for its lane",
    ItemState.WORKING: "is in a call or a batch",
    ItemState.ANSWERED: "has a provisional answer",
    ItemState.SETTLED: "has its final answer",
    ItemState.FAILED: "gets no answer unless it is retried",
    ItemState.CANCELED: "was withdrawn",
}


@dataclass(frozen=True)
class CalibrationRow:
    """The items of a workload that had about the same predicted probability of being back in time."""

    workload: str
    label: str
    items: int
    stated: float
    back: float
    brier: str


def tables(snapshot: Snapshot) -> list[Table[Any]]:
    """Return every table of the page in page order, including tables without rows."""
    return [
        first_page.incidents(snapshot, snapshot.incidents),
        first_page.rollouts(snapshot.rollouts),
        routes(snapshot),
        throughput(snapshot),
        batches(snapshot),
        batch_totals(snapshot),
        quality(snapshot),
        second_passes(snapshot),
        deadlines(snapshot),
        calibration(snapshot),
        rescues(snapshot),
        sheds(snapshot),
        waits(snapshot),
        pack_sizes(snapshot),
        windows(snapshot),
        calls(snapshot),
        caching(snapshot),
        capacity(snapshot),
        budgets(snapshot.budgets),
        splits(snapshot),
        replays(snapshot),
        amendments(snapshot),
        reads(snapshot),
        advice(snapshot),
        states(snapshot),
        failures(snapshot),
        refusals(snapshot),
    ]


def routes(snapshot: Snapshot) -> Table[figures.RouteFigures]:
    """Return the routing decisions of the period by lane and reason."""
    whole = Counter[str]()
    for each in snapshot.routes:
        whole[each.workload] += each.items
    rows = sorted(snapshot.routes, key=lambda of: (of.workload, of.lane == Lane.BATCH, -of.items))
    return Table(
        ROUTES,
        rows,
        LANE,
        label("Reason", lambda of: reason_name(of.reason)),
        figure("Decisions", "each new decision counts", lambda of: count(of.items)),
        figure("Share", "of its workload", lambda of: share(of.items / whole[of.workload])),
    )


def throughput(snapshot: Snapshot) -> Table[figures.LaneFigures]:
    """Return the throughput of each lane while it is busy."""
    return Table(
        "Throughput",
        snapshot.lanes,
        LANE,
        figure("Answers", "including authoritative passes", lambda of: count(of.answers)),
        figure("Busy", "from first attempt to last answer", lambda of: seconds(of.busy_s)),
        figure("Answers per minute", "over that time", lambda of: rate_or_dash(of.per_minute)),
    )


def batches(snapshot: Snapshot) -> Table[figures.BatchFigures]:
    """Return the newest batches and all open ones."""
    speeds = [of.items_per_minute_until_ended for of in snapshot.batches]
    fastest = max((each for each in speeds if each), default=0.0)

    def state(batch: figures.BatchFigures) -> str:
        wrong = trouble(batch, snapshot.incidents)
        done = (
            f"{share(summary.compute_done_share(batch))} done"
            if batch.state == BatchState.SUBMITTED
            else ""
        )
        return ", ".join(filter(None, (batch.state, done, wrong if wrong != batch.state else "")))

    def speed(batch: figures.BatchFigures) -> str:
        rate_ = batch.items_per_minute_until_ended
        bar = "█" * max(1, round(STEPS * rate_ / fastest)) if rate_ else ""
        return f"{bar} {rate_or_dash(rate_)}".strip()

    return Table(
        f"{BATCHES}: {health(snapshot.batches, snapshot.incidents)}",
        snapshot.batches,
        label("Batch", lambda of: f"#{of.batch_id}"),
        WORKLOAD,
        phrase("State", "with the share of its requests that is done", state),
        figure(
            "Valid", "items with a valid answer", lambda of: format_part(of.succeeded, of.items)
        ),
        phrase("Time", "from submitted to ended", lambda of: batch_time(of, snapshot.taken_at)),
        figure("Items a minute", "its items over that time", speed),
        label("Note", lambda of: of.note or MISSING),
    )


def batch_totals(snapshot: Snapshot) -> Table[figures.BatchTotals]:
    """Return the batch totals of each workload; no rows until a workload has several batches."""
    has_several = any(of.batches > 1 for of in snapshot.batch_totals)
    return Table(
        "Batches by workload",
        snapshot.batch_totals if has_several else (),
        WORKLOAD,
        figure(
            "Batches that ended", "of those intended", lambda of: format_part(of.ended, of.batches)
        ),
        figure("Items", "in all of them", lambda of: count(of.items)),
        figure("p50", "from submitted to ended", lambda of: seconds(of.p50_s)),
        figure("p95", "from submitted to ended", lambda of: seconds(of.p95_s)),
        figure("Items a minute", "while submitted", lambda of: rate_or_dash(of.per_minute)),
        figure("Failed", "returned without a valid answer", lambda of: share(of.failure_share)),
    )


def deadlines(snapshot: Snapshot) -> Table[figures.DeadlineFigures]:
    """Return due times met and missed, by the lane and the reason of the newest route."""
    reason: Column[figures.DeadlineFigures] = label("Reason", lambda of: reason_name(of.reason))
    lane, *columns = deadline_columns()
    is_late = any(of.reason == Reason.OVERDUE for of in snapshot.deadlines)
    note = "Reason overdue: due before the item arrived." if is_late else ""
    return Table("Deadlines by reason", snapshot.deadlines, lane, reason, *columns, note=note)


def calibration(snapshot: Snapshot) -> Table[CalibrationRow]:
    """Return the calibration of the predicted on-time probabilities: one row per workload, then one per bin."""
    rows = [
        CalibrationRow(of.workload, label, part.items, part.stated, part.back, brier)
        for of in snapshot.calibration
        for label, part, brier in (
            ("all", of, f"{of.brier:.3f}"),
            *((f"{share(bin.low)} to {share(bin.high)}", bin, "") for bin in of.bins),
        )
    ]
    return Table(
        "Predicted batch times",
        rows,
        WORKLOAD,
        figure("Predicted probability", "of being back in time", lambda of: of.label),
        figure("Items", "with that prediction", lambda of: count(of.items)),
        figure("Mean prediction", "of the items", lambda of: f"{of.stated * 100:.1f} %"),
        figure("Were in time", "share of the items", lambda of: f"{of.back * 100:.1f} %"),
        figure("Brier score", "0 is perfect, 0.25 is a coin toss", lambda of: of.brier),
        note="A sample of the due items that went to a batch.",
    )


def rescues(snapshot: Snapshot) -> Table[figures.RescueFigures]:
    """Return the items that real time took over from late batches, how many were in time, and their cost."""

    def in_time(row: figures.RescueFigures) -> str:
        return format_part(row.met, row.items - row.waiting)

    return Table(
        "Rescued from late batches",
        snapshot.rescues,
        WORKLOAD,
        figure("Rescued", "their batch would be late", lambda of: count(of.items)),
        figure("In time", "of those due or answered", in_time),
        figure("Cost in real time", "billed there", lambda of: usd(of.usd)),
        figure("Paid twice", "where the batch was billed too", lambda of: usd(of.twice_usd)),
    )


def sheds(snapshot: Snapshot) -> Table[figures.ShedFigures]:
    """Return the items that real time gave to batches for lack of capacity, and how long their answers took."""
    return Table(
        "Shed to batches",
        snapshot.sheds,
        WORKLOAD,
        figure("Items", "that real time had no capacity for", lambda of: count(of.items)),
        figure("Saved", "as estimated", lambda of: usd(of.saved_usd)),
        figure(
            "Answered", "of the newest thousand", lambda of: format_part(of.answered, of.looked_at)
        ),
        figure("p50, p95", "from shed to answered", lambda of: join_durations(of.p50_s, of.p95_s)),
        label("Reason of the newest", lambda of: of.why),
    )


def waits(snapshot: Snapshot) -> Table[figures.WaitFigures]:
    """Return how long real-time items wait for their call."""
    return Table(
        "Waits for a real-time call",
        snapshot.waits,
        WORKLOAD,
        figure("Items", "that a call asked for", lambda of: count(of.items)),
        figure("p50", "from received to asked", lambda of: seconds(of.p50_s)),
        figure("p95", "from received to asked", lambda of: seconds(of.p95_s)),
    )


def pack_sizes(snapshot: Snapshot) -> Table[figures.PackFigures]:
    """Return how many items share a call, and whether packing harms their answers."""

    def size(row: figures.PackFigures) -> str:
        return "as allowed" if row.size is None else f"{row.size} of {row.allowed}"

    def since(row: figures.PackFigures) -> str:
        return MISSING if row.since is None else clock(row.since, beside=snapshot.taken_at)

    return Table(
        "Pack sizes",
        snapshot.packs,
        LANE,
        figure("Items a call", "at most, of those allowed", size),
        figure(
            "Packed agrees",
            "same answer alone; n compared",
            lambda of: _format_agreement(of.packed),
        ),
        figure("Single agrees", "items asked alone twice", lambda of: _format_agreement(of.alone)),
        label("Since", since),
        label("Because", lambda of: of.why or MISSING),
        figure("Checks", "cost of the comparisons", lambda of: usd(of.checks_usd)),
    )


def second_passes(snapshot: Snapshot) -> Table[figures.SecondPassFigures]:
    """Return how many early answers got no second pass, and the resulting risk of wrong answers."""

    def describe_check(row: figures.SecondPassFigures) -> str:
        since = "" if row.since is None else f" since {clock(row.since, beside=snapshot.taken_at)}"
        return f"{'sample' if row.sampled else 'all'}{since}"

    return Table(
        "Second passes",
        snapshot.second_passes,
        WORKLOAD,
        phrase(
            "Class", "of the early answer; other: not distinguished further", lambda of: of.name
        ),
        phrase("Checked", "all that pass the check, or a sample", describe_check),
        figure("Left out", "of the early answers", lambda of: format_part(of.saved, of.answers)),
        figure("Saved", "by that", lambda of: usd(of.saved_usd)),
        figure("Agreed", "newest fair comparisons", lambda of: _format_agreement(of.agreement)),
        figure("Wrong", "left out, surely at most", lambda of: count(of.most_missed)),
    )


def windows(snapshot: Snapshot) -> Table[figures.WindowFigures]:
    """Return how long real-time items wait in their window, and why windows close."""

    def format_reason_share(why: FlushReason) -> Callable[[figures.WindowFigures], str]:
        return lambda of: share(of.left.get(why, 0) / of.items)

    return Table(
        "Real-time windows",
        snapshot.windows,
        WORKLOAD,
        figure("Items per call", "the mean", lambda of: ratio(of.items_per_call)),
        figure("Mean wait", "for items to share a call", lambda of: seconds(of.mean_wait_s)),
        figure("Full", "share of items whose call was full", format_reason_share(FlushReason.FULL)),
        figure(
            "Pressed", "one of them could not wait longer", format_reason_share(FlushReason.PRESSED)
        ),
        figure("Time up", "the window had ended", format_reason_share(FlushReason.OVER)),
        figure(
            "No more expected",
            "no other item was likely",
            format_reason_share(FlushReason.HOPELESS),
        ),
    )


def calls(snapshot: Snapshot) -> Table[figures.CallFigures]:
    """Return the utilization of calls: items per call and tokens per item."""
    return Table(
        "Calls and packing",
        snapshot.calls,
        LANE,
        figure("Calls", "billed, including shadows and replays", lambda of: count(of.calls)),
        figure("Items per call", "the mean", lambda of: ratio(of.items_per_call)),
        figure("Input tokens / item", "with cached", lambda of: ratio(of.prompt_tokens / of.items)),
        figure("Output tokens / item", "the mean", lambda of: ratio(of.output_tokens / of.items)),
        figure(
            "From cache", "of the input tokens", lambda of: share(summary.compute_cached_share(of))
        ),
    )


def caching(snapshot: Snapshot) -> Table[figures.CachingFigures]:
    """Return whether calls mark their shared context for the provider's cache, and the saving."""
    return Table(
        "Shared context",
        snapshot.caching,
        LANE,
        phrase("Cache", "whether calls mark what they share", lambda of: of.state),
        figure("Hit rate", "marked tokens that were cached", lambda of: share(of.hit_rate)),
        figure("Pays from", "hit rate that breaks even", lambda of: share(of.pays_from)),
        figure("Calls", "the hit rate was measured in", lambda of: count(of.calls)),
        figure("Reviewed", "when decided last", lambda of: _ago(of.looked_at, snapshot)),
        figure("Saved", "against no cache", lambda of: usd(of.saved_usd)),
    )


def capacity(snapshot: Snapshot) -> Table[tuple[figures.CapacityFigures, Limit]]:
    """Return the remaining provider limits of each model, and the time until its waiting work is done."""
    return Table(
        "Capacity of real time",
        [(of, limit) for of in snapshot.capacity for limit in of.limits],
        label("Model", lambda of: of[0].model),
        label("Limit", lambda of: of[1].kind.label),
        figure("Per minute", "what the provider allows", lambda of: count(of[1].limit)),
        figure("Left", "when last reported", lambda of: count(int(of[1].remaining))),
        figure("Reported", "when the provider said so", lambda of: _ago(of[1].seen_at, snapshot)),
        figure("Waiting", "items that need this model", lambda of: count(of[0].waiting)),
        figure("Drain time", "until they are answered", lambda of: seconds(of[0].drain_s)),
    )


def budgets(found: Sequence[BudgetStatus]) -> Table[BudgetStatus]:
    """Return the spent, reserved and remaining amount of each budget in its period."""
    return Table(
        "Budgets",
        found,
        label("Budget", lambda of: f"{of.budget.workload}: {of.budget.subject}"),
        figure("Spent", "billed, or possibly billed", lambda of: usd(of.used_usd)),
        figure("Reserved", "at most, for work in progress", lambda of: usd(of.reserved_usd)),
        figure("Left", "neither spent nor reserved", lambda of: usd(of.rest_usd)),
        figure("Soft", "above it, batch is preferred", lambda of: usd(of.budget.soft_usd)),
        figure("Hard", "never exceeded", lambda of: usd(of.budget.hard_usd)),
        figure("State", "share spent, or why nothing is paid", lambda of: of.state),
    )


def splits(snapshot: Snapshot) -> Table[figures.SplitFigures]:
    """Return the share of undecided items that goes to real time, and who set it."""
    return Table(
        "Splits in force",
        snapshot.splits,
        WORKLOAD,
        label("Consumer", lambda of: of.consumer or "all"),
        figure("To real-time", "if no rule decides", lambda of: f"{of.basis_points / 100:g} %"),
        label("Set by", lambda of: of.who),
        label("Why", lambda of: of.why),
        label("Since", lambda of: clock(of.set_at, beside=snapshot.taken_at)),
    )


def replays(snapshot: Snapshot) -> Table[figures.ReplayFigures]:
    """Return the open replays and those of the period."""
    return Table(
        "Replays",
        snapshot.replays,
        WORKLOAD,
        figure("Generation", "", lambda of: str(of.generation)),
        figure("Version", "", lambda of: str(of.version)),
        label("State", lambda of: of.state),
        figure(
            "Answered", "of the items it has read", lambda of: format_part(of.answered, of.items)
        ),
        figure("Failed", "work without an answer", lambda of: count(of.failed)),
        figure("Cost", "billed so far", lambda of: usd(of.cost_usd)),
        note="Compare one with `lanes diff`, then `lanes promote` or `lanes drop` it.",
    )


def amendments(snapshot: Snapshot) -> Table[figures.AmendmentFigures]:
    """Return the late data of the period."""
    return Table(
        "Late data",
        snapshot.amendments,
        WORKLOAD,
        figure("Amendments applied", "in the period", lambda of: count(of.applied)),
        figure("Waiting for their item", "now", lambda of: count(of.waiting)),
    )


def reads(snapshot: Snapshot) -> Table[tuple[str, ConsumerUse]]:
    """Return who reads real-time answers, and how soon."""
    seen = [(of.workload, of.evidence.consumers) for of in snapshot.advice if of.evidence]
    return Table(
        "Reads of real-time answers",
        [(name, each) for name, consumers in seen for each in consumers if each.answers],
        label("Workload", lambda of: of[0]),
        label("Consumer", lambda of: of[1].consumer or "unnamed"),
        figure("Reads", "answers with a recorded read", lambda of: count(of[1].reads)),
        figure("Median until read", "from answered", lambda of: seconds(of[1].median_s)),
        figure(
            "Within 60 s",
            "of the reads",
            lambda of: share(of[1].at_once / of[1].reads if of[1].reads else None),
        ),
        figure("Unknown", "no read recorded after a minute", lambda of: count(of[1].unknown)),
        note=f"Of {ADVISED}.",
    )


def advice(snapshot: Snapshot) -> Table[Advice]:
    """Return the recommended pattern of each workload."""
    return Table(
        "Advice",
        snapshot.advice,
        WORKLOAD,
        label("Pattern", advice_numbers.pattern),
        label("Because", lambda of: of.because),
        label("Could move to batch", lambda of: _movable(of.movable)),
        note=f"By {ADVISED}. Every criterion with its evidence: `lanes advise WORKLOAD`.",
    )


def quality(snapshot: Snapshot) -> Table[figures.QualityFigures]:
    """Return the distribution of each version's first answers, and the distribution now."""

    def describe_classes(of: figures.QualityFigures) -> str:
        return "; ".join(f"{name} {share(old)}, {share(new)}" for name, old, new in of.classes)

    return Table(
        "Quality of answers",
        snapshot.quality,
        LANE,
        figure("Version", "", lambda of: str(of.version)),
        phrase("Figure", "the property of the answers that is compared", lambda of: of.figure),
        phrase(
            "Reference and now",
            "shares among the version's first answers, and since",
            describe_classes,
        ),
        phrase(
            "State",
            "drifts: an incident is open; lacks labels: accuracy is not watched yet",
            lambda of: of.state,
        ),
    )


def states(snapshot: Snapshot) -> Table[str]:
    """Return the items of each workload by their current state."""

    def of(workload: str) -> list[figures.StateFigures]:
        return [each for each in snapshot.states if each.workload == workload]

    def number(workload: str) -> str:
        return count(sum(each.items for each in of(workload)))

    def list_states(workload: str) -> str:
        return ", ".join(f"{count(each.items)} {each.state}" for each in of(workload))

    meanings = "; ".join(f"{state} {meaning}" for state, meaning in STATES.items())
    return Table(
        "Items",
        snapshot.workloads,
        label("Workload", lambda name: name),
        figure("Items", "received in the period", number),
        phrase("Where they stand", meanings, list_states),
    )


def failures(snapshot: Snapshot) -> Table[figures.Failure]:
    """Return the newest items without an answer, or whose authoritative pass failed."""
    return Table(
        "Items without an answer, or whose authoritative pass failed",
        snapshot.failures,
        WORKLOAD,
        label("Key", lambda of: of.key),
        label("Reason", lambda of: of.reason),
    )


def refusals(snapshot: Snapshot) -> Table[figures.RefusalFigures]:
    """Return how many inputs the doors refused, by reason."""
    reasons = {of.reason for of in snapshot.refusals}
    return Table(
        "Inputs refused at the doors",
        snapshot.refusals,
        WORKLOAD,
        label("Reason", lambda of: of.reason),
        figure("Inputs", "listed in `lanes.rejected_log`", lambda of: count(of.inputs)),
        note=ONLY_COUNTED if "only_counted" in reasons else "",
    )


def _ago(moment: datetime, snapshot: Snapshot) -> str:
    return f"{seconds((snapshot.taken_at - moment).total_seconds())} ago"


def _movable(consumers: Sequence[ConsumerUse]) -> str:
    if not consumers:
        return MISSING
    first = consumers[0].consumer or "items without a consumer"
    more = len(consumers) - 1
    return f"{first} and {pluralize(more, 'more consumer')}" if more else first


def _format_agreement(agreement: SampleShare) -> str:
    return (
        MISSING if agreement.value is None else f"{agreement.value:.2f} (n {agreement.samples:,})"
    )
