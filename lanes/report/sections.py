"""What stands beside the lanes, as tables of plain text: incidents, rollouts, batches, waits, packing, splits, advice.

The terminal and the artifact write the same sections, each in its own way.
"""

from collections.abc import Sequence

from lanes.money.budget import BudgetStatus
from lanes.promises.incident import TERMS, IncidentState
from lanes.report import advice_summary, legends, packing_sections, summary
from lanes.report.rollout import where_it_stands
from lanes.report.section import Section
from lanes.report.snapshot import Snapshot
from lanes.units import MISSING, clock, count, counted, rate, ratio, seconds, share, usd
from lanes.words import Reason

REPLAYS_NOTE = "Compare one with `lanes diff`, then `lanes promote` or `lanes drop` it."
ADVISED = "items received in the last 30 days"  # what advice looks at


def pressing(snapshot: Snapshot) -> list[Section]:
    """What may need a person; only those that have rows."""
    return [
        each for each in (incidents(snapshot), circuits(snapshot), rollouts(snapshot)) if each.rows
    ]


def further(snapshot: Snapshot) -> list[Section]:
    """How the lanes work, are steered and used; only those that have rows."""
    lanes = (
        batch_totals(snapshot),
        deadlines(snapshot),
        calibration(snapshot),
        rescues(snapshot),
        sheds(snapshot),
        waits(snapshot),
        *packing_sections.sections(snapshot),
        calls(snapshot),
        caching(snapshot),
        capacity(snapshot),
    )
    steered = (
        splits(snapshot),
        replays(snapshot),
        amendments(snapshot),
        reads(snapshot),
        advice(snapshot),
    )
    return [each for each in (*lanes, budgets(snapshot.budgets), *steered) if each.rows]


def throughput(snapshot: Snapshot) -> Section:
    """How much each lane answers while it is busy; it always has its place, with or without rows."""
    rows = [
        (
            summary.title_of(each),
            count(each.answers),
            seconds(each.busy_s),
            MISSING if each.per_minute is None else rate(each.per_minute),
        )
        for each in snapshot.lanes
    ]
    heads = ("Lane", "Answers", "Busy", "Answers per minute")
    return Section("Throughput", heads, "lrrr", rows, legend=legends.THROUGHPUT)


def batch_totals(snapshot: Snapshot) -> Section:
    """How much batches bring home, how soon, and how much of it fails; no rows while each workload has one batch at most."""
    rows = [
        (
            each.workload,
            f"{count(each.ended)} of {count(each.batches)}",
            count(each.items),
            seconds(each.p50_s),
            seconds(each.p95_s),
            MISSING if each.per_minute is None else rate(each.per_minute),
            share(each.failure_share),
        )
        for each in snapshot.batch_totals
        if any(of.batches > 1 for of in snapshot.batch_totals)
    ]
    heads = ("Workload", "Batches that ended", "Items", "p50", "p95", "Items a minute", "Failed")
    return Section("Batches by workload", heads, "lrrrrrr", rows, legend=legends.BATCH_TOTALS)


def deadlines(snapshot: Snapshot) -> Section:
    """Due times met and missed, by the lane and the reason of the route that stood then."""
    rows = [
        (
            summary.title_of(each),
            summary.reason_name(each.reason),
            count(each.met),
            count(each.missed),
            count(each.overdue),
            share(each.met_share),
        )
        for each in snapshot.deadlines
    ]
    heads = ("Lane", "Reason", "Met", "Missed", "Overdue now", "In time")
    note = "Due items by their newest route."
    if any(each.reason == Reason.OVERDUE for each in snapshot.deadlines):
        note = "Due items by their newest route; reason overdue: due before they arrived."
    return Section("Deadlines", heads, "llrrrr", rows, note, legends.DEADLINES)


def calibration(snapshot: Snapshot) -> Section:
    """How right it was what due items were told: a row of all, and one for each bin of probabilities."""
    rows = [
        (
            each.workload,
            said,
            count(of.items),
            f"{of.stated * 100:.1f} %",
            f"{of.back * 100:.1f} %",
            brier,
        )
        for each in snapshot.calibration
        for of, said, brier in (
            (each, "all", f"{each.brier:.3f}"),
            *((bin, f"{share(bin.low)} to {share(bin.high)}", "") for bin in each.bins),
        )
    ]
    heads = (
        "Workload",
        "Back in time, it was said",
        "Items",
        "Said on average",
        "Were back",
        "Brier score",
    )
    note = "Due items that went to a batch, a sample."
    return Section("Due times in batches", heads, "llrrrr", rows, note, legends.CALIBRATION)


def rescues(snapshot: Snapshot) -> Section:
    """What the second look took to real time, whether that was in time, and what it cost."""
    rows = [
        (
            each.workload,
            count(each.items),
            f"{count(each.met)} of {count(each.items - each.waiting)}",
            usd(each.usd),
            usd(each.twice_usd),
        )
        for each in snapshot.rescues
    ]
    heads = ("Workload", "Rescued", "In time", "Cost in real time", "Of it extra")
    return Section("Rescued from late batches", heads, "lrrrr", rows, legend=legends.RESCUES)


def waits(snapshot: Snapshot) -> Section:
    """How long real time lets items wait before they are asked."""
    rows = [
        (each.workload, count(each.items), seconds(each.p50_s), seconds(each.p95_s))
        for each in snapshot.waits
    ]
    return Section(
        "Waits for a real-time call",
        ("Workload", "Items", "p50", "p95"),
        "lrrr",
        rows,
        legend=legends.WAITS,
    )


def budgets(of: Sequence[BudgetStatus]) -> Section:
    """What each budget has spent and reserved in its current period, and what is left."""
    rows = [
        (
            each.budget.workload,
            each.budget.subject,
            usd(each.used_usd),
            usd(each.reserved_usd),
            usd(each.rest_usd),
            usd(each.budget.soft_usd),
            usd(each.budget.hard_usd),
            each.state,
        )
        for each in of
    ]
    heads = ("Workload", "Budget", "Spent", "Reserved", "Left", "Soft", "Hard", "State")
    return Section("Budgets", heads, "llrrrrrr", rows, legend=legends.BUDGETS)


def incidents(snapshot: Snapshot) -> Section:
    """The broken promises, open ones first."""
    rows = [
        (
            f"#{each.id}",
            each.workload,
            TERMS[each.promise].title + (f", {each.subject}" if each.subject else ""),
            ", ".join(
                filter(
                    None,
                    (
                        each.severity if each.state is IncidentState.OPEN else "",
                        each.state,
                        each.because,
                    ),
                )
            ),
            clock(each.opened_at, beside=snapshot.taken_at),
            each.sentence,
        )
        for each in snapshot.incidents
    ]
    title = f"Incidents: {summary.open_incidents(snapshot) or 'none open'}"
    return Section(
        title,
        ("Incident", "Workload", "Promise", "State", "Since", "What is wrong"),
        "llllll",
        rows,
    )


def circuits(snapshot: Snapshot) -> Section:
    """The models that answer nobody."""
    rows = [
        (
            each.model,
            each.account,
            each.state,
            clock(each.since, beside=snapshot.taken_at),
            count(each.faults),
            each.why,
        )
        for each in snapshot.circuits
    ]
    note = "One call of one drain at a time finds out whether it answers again; what asks it waits until then."
    heads = (
        "Model",
        "Account",
        "Circuit",
        "Answers nobody since",
        "Calls in a row",
        "The last of them met",
    )
    return Section("The provider does not answer", heads, "llllrl", rows, note, legends.CIRCUITS)


def rollouts(snapshot: Snapshot) -> Section:
    """Playbooks under way, and those that ended in the period."""
    rows = [
        (
            where_it_stands(each),
            each.playbook.name,
            each.consumer or "all",
            each.started_by,
            each.holds or MISSING,
        )
        for each in snapshot.rollouts
    ]
    heads = ("Rollout", "Playbook", "Consumer", "Started by", "Holds, because")
    return Section("Rollouts", heads, "lllll", rows, legend=legends.ROLLOUTS)


def splits(snapshot: Snapshot) -> Section:
    """Which share of the undecided items goes to real-time, and who said so."""
    rows = [
        (
            each.workload,
            each.consumer or "all",
            f"{each.basis_points / 100:g} %",
            each.who,
            each.why,
            clock(each.set_at, beside=snapshot.taken_at),
        )
        for each in snapshot.splits
    ]
    heads = ("Workload", "Consumer", "To real-time", "Set by", "Why", "Since")
    return Section("Splits in force", heads, "llrlll", rows, legend=legends.SPLITS)


def replays(snapshot: Snapshot) -> Section:
    """Replays that are open, and those of the period."""
    rows = [
        (
            each.workload,
            str(each.generation),
            str(each.version),
            each.state,
            f"{count(each.answered)} of {count(each.items)}",
            count(each.failed),
            usd(each.cost_usd),
        )
        for each in snapshot.replays
    ]
    heads = ("Workload", "Generation", "Version", "State", "Answered", "Failed", "Cost")
    return Section("Replays", heads, "lrrlrrr", rows, REPLAYS_NOTE, legends.REPLAYS)


def calls(snapshot: Snapshot) -> Section:
    """How well calls are used: items that share one, and tokens an item."""
    rows = [
        (
            summary.title_of(each),
            count(each.calls),
            ratio(each.items_per_call),
            ratio(each.prompt_tokens / each.items),
            ratio(each.output_tokens / each.items),
            share(summary.cached(each)),
        )
        for each in snapshot.calls
    ]
    heads = (
        "Lane",
        "Calls",
        "Items / call",
        "Input tokens / item",
        "Output tokens / item",
        "From cache",
    )
    return Section("Calls and packing", heads, "lrrrrr", rows, legend=legends.CALLS)


def caching(snapshot: Snapshot) -> Section:
    """Whether calls mark what they share for the provider's cache, by what was measured, and what that saved."""
    rows = [
        (
            summary.title_of(each),
            each.state,
            share(each.hit_rate),
            share(each.pays_from),
            count(each.calls),
            f"{seconds((snapshot.taken_at - each.looked_at).total_seconds())} ago",
            usd(each.saved_usd),
        )
        for each in snapshot.caching
    ]
    heads = ("Lane", "Cache", "Hit rate", "Pays from", "Of calls", "Looked at", "Saved")
    return Section("Shared context", heads, "llrrrrr", rows, legend=legends.CACHING)


def capacity(snapshot: Snapshot) -> Section:
    """What the provider's limits leave of each model, and how long what waits for it in real time takes."""
    rows = [
        (
            each.model,
            limit.kind.said,
            count(limit.limit),
            count(int(limit.remaining)),
            f"{seconds((snapshot.taken_at - limit.seen_at).total_seconds())} ago",
            count(each.waiting),
            seconds(each.drain_s),
        )
        for each in snapshot.capacity
        for limit in each.limits
    ]
    heads = ("Model", "Limit of", "A minute", "Left", "Told", "Waiting", "Drain time")
    return Section("Capacity of real time", heads, "llrrrrr", rows, legend=legends.CAPACITY)


def sheds(snapshot: Snapshot) -> Section:
    """What real time gave to batches because it could not serve it, what that saves, and how soon it was answered."""
    rows = [
        (
            each.workload,
            count(each.items),
            usd(each.saved_usd),
            f"{count(each.answered)} of {count(each.looked_at)}",
            seconds(each.p50_s),
            seconds(each.p95_s),
            each.why,
        )
        for each in snapshot.sheds
    ]
    heads = ("Workload", "Items", "Saved", "Answered", "p50", "p95", "Why the last one left")
    return Section("Shed to batches", heads, "lrrrrrl", rows, legend=legends.SHEDS)


def amendments(snapshot: Snapshot) -> Section:
    """Late data."""
    rows = [
        (each.workload, count(each.applied), count(each.waiting)) for each in snapshot.amendments
    ]
    heads = ("Workload", "Amendments applied", "Waiting for their item")
    return Section("Late data", heads, "lrr", rows, legend=legends.AMENDMENTS)


def reads(snapshot: Snapshot) -> Section:
    """Who reads what real-time answered, and how soon: consumers with recorded reads only."""
    rows = [
        (
            each.workload,
            consumer.consumer or "nobody named",
            count(consumer.reads),
            seconds(consumer.median_s),
            share(consumer.at_once / consumer.reads),
            count(consumer.unread),
        )
        for each in snapshot.advice
        if each.evidence is not None
        for consumer in each.evidence.consumers
        if consumer.reads
    ]
    heads = ("Workload", "Consumer", "Reads", "Median until read", "Within 60 s", "Never read")
    return Section(
        "Reads of real-time answers", heads, "llrrrr", rows, f"Of {ADVISED}.", legends.READS
    )


def advice(snapshot: Snapshot) -> Section:
    """The recommended pattern of each workload, in one line."""
    rows = [
        (
            each.workload,
            advice_summary.pattern(each),
            each.because,
            _movable([c.consumer for c in each.movable]),
        )
        for each in snapshot.advice
    ]
    heads = ("Workload", "Pattern", "Because", "Could move to batch")
    return Section(
        "Advice",
        heads,
        "llll",
        rows,
        f"By {ADVISED}. Every criterion with its evidence: `lanes advise WORKLOAD`.",
    )


def _movable(consumers: Sequence[str | None]) -> str:
    if not consumers:
        return MISSING
    first = consumers[0] or "items of nobody named"
    return (
        first
        if len(consumers) == 1
        else f"{first} and {counted(len(consumers) - 1, 'more consumer')}"
    )
