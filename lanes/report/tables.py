"""The tables of the report's first page: what needs a person, the lanes, cost, deadlines and quality."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Protocol

from lanes.promises.incident import TERMS, Incident, IncidentState
from lanes.report import figures, summary
from lanes.report.figures import CostFigures, DeadlineFigures, LaneFigures
from lanes.report.rollout import describe_state
from lanes.report.snapshot import Snapshot
from lanes.report.summary import OfLane, lane_name, name_lane
from lanes.report.table import Column, Table, figure, format_part, label, phrase
from lanes.rollouts.rollout import Rollout
from lanes.units import MISSING, align_usd, clock, count, dollars, rate, seconds, share, usd
from lanes.words import RolloutState


class OfWorkload(Protocol):
    """Figures of a workload."""

    @property
    def workload(self) -> str: ...


WORKLOAD: Column[OfWorkload] = label("Workload", lambda of: of.workload)
LANE: Column[OfLane] = label("Lane", name_lane)


def attention(snapshot: Snapshot) -> Iterator[Table[Any]]:
    """Yield tables of what needs a person: open incidents, models that do not answer, waiting and proposed rollouts."""
    open_ones = [each for each in snapshot.incidents if each.state is IncidentState.OPEN]
    waiting = [each for each in snapshot.rollouts if each.state is RolloutState.WAITING_APPROVAL]
    if open_ones:
        yield incidents(snapshot, open_ones)
    if snapshot.circuits:
        yield circuits(snapshot)
    if waiting:
        yield rollouts(waiting, "Rollouts that wait for approval")
    if snapshot.proposals:
        yield proposals(snapshot)


def incidents(snapshot: Snapshot, shown: Sequence[Incident]) -> Table[Incident]:
    """Return the `shown` incidents; the title counts the open ones of the snapshot."""
    return Table(
        f"Incidents: {summary.open_incidents(snapshot) or 'none open'}",
        shown,
        label("Incident", lambda of: f"#{of.id}"),
        WORKLOAD,
        label("Promise", _promise),
        label("State", _incident_state),
        label("Since", lambda of: clock(of.opened_at, beside=snapshot.taken_at)),
        label("What is wrong", lambda of: of.sentence),
    )


def circuits(snapshot: Snapshot) -> Table[figures.CircuitFigures]:
    """Return the models that do not answer, with the states of their circuits."""

    def since(of: figures.CircuitFigures) -> str:
        return clock(of.since, beside=snapshot.taken_at)

    return Table(
        "The provider does not answer",
        snapshot.circuits,
        label("Model", lambda of: of.model),
        label("Account", lambda of: of.account),
        label("Circuit", lambda of: of.state),
        phrase("Has not answered since", "when its circuit opened", since),
        figure("Failed calls in a row", "provider faults", lambda of: count(of.faults)),
        label("Last error", lambda of: of.why),
        note="One call at a time probes whether the model answers again. Its work waits until then.",
    )


def rollouts(shown: Sequence[Rollout], title: str = "Rollouts") -> Table[Rollout]:
    """Return playbooks in progress, or those that ended in the period."""
    return Table(
        title,
        shown,
        phrase("Rollout", "share sent to real time, step in force", describe_state),
        label("Playbook", lambda of: of.playbook.name),
        label("Consumer", lambda of: of.consumer or "all"),
        label("Started by", lambda of: of.started_by),
        label("Held because", lambda of: of.holds or MISSING),
    )


def proposals(snapshot: Snapshot) -> Table[figures.OpenProposal]:
    """Return the rollouts to batch that wait for a person's decision."""
    return Table(
        "Rollouts that are proposed",
        snapshot.proposals,
        label("Proposal", lambda of: f"#{of.id}"),
        WORKLOAD,
        label("Consumer", lambda of: of.consumer),
        figure("Saving", "monthly, off the provider's bill", lambda of: dollars(of.saving_usd)),
        label("Since", lambda of: clock(of.proposed_at, beside=snapshot.taken_at)),
        note="`lanes proposals` says more; approve, edit or decline each there or by form `decide_proposal`.",
    )


def lanes(snapshot: Snapshot) -> Table[LaneFigures]:
    """Return the answers, latency, failures and cost of each lane of each workload."""
    cost = align_usd([each.cost_usd for each in snapshot.lanes])
    per_1000 = align_usd([each.usd_per_1000 for each in snapshot.lanes])
    return Table(
        "Lanes",
        snapshot.lanes,
        LANE,
        figure(
            "Answered", "of the items routed here", lambda of: format_part(of.answered, of.items)
        ),
        figure("p50, p95, p99", "from received to answered, in percentiles", _percentiles),
        figure("Per minute", "answers while busy", lambda of: rate_or_dash(of.per_minute)),
        figure("Failed", "attempts without a valid answer", _format_failures),
        figure("Cost", "billed, in US dollars", lambda of: cost(of.cost_usd)),
        figure("Per 1,000", "cost of 1,000 answers", lambda of: per_1000(of.usd_per_1000)),
    )


def costs(snapshot: Snapshot) -> Table[CostFigures]:
    """Return the billed cost next to the cost on each lane alone; with several workloads, their total comes first."""
    rows = sorted(snapshot.costs, key=lambda of: -of.all_realtime_usd)
    if len(rows) > 1:
        rows.insert(0, summary.total_costs(snapshot))
    lanes = [amount for of in rows for amount in (of.all_realtime_usd, of.all_batch_usd)]
    amount = align_usd([*(of.actual_usd for of in rows), *lanes])

    def saving(of: CostFigures) -> str:
        return str(summary.measure_saving(of, snapshot))

    return Table(
        "Cost against the alternatives",
        rows,
        WORKLOAD,
        figure("Actual", "billed, in US dollars", lambda of: amount(of.actual_usd)),
        figure("All real-time", "estimated, scaled", lambda of: amount(of.all_realtime_usd)),
        figure("All batch", "estimated, scaled", lambda of: amount(of.all_batch_usd)),
        phrase("Against all real-time", "actual cost compared", saving),
        figure("Possibly billed", "at most, for calls without an answer", _format_unknown),
        note=summary.aside(snapshot),
    )


def deadlines(snapshot: Snapshot) -> Table[DeadlineFigures]:
    """Return due times met and missed on each lane; the second page has them by reason."""
    return Table("Deadlines", [*_sort_by_lane(snapshot.deadlines)], *deadline_columns())


def deadline_columns() -> list[Column[DeadlineFigures]]:
    """Return the columns that both deadline tables share."""
    return [
        LANE,
        figure("Met", "answered by the due time", lambda of: count(of.met)),
        figure("Missed", "answered late, or failed", lambda of: count(of.missed)),
        figure("Overdue now", "neither answered nor failed", lambda of: count(of.overdue)),
        figure("In time", "met, of all three", lambda of: share(of.met_share)),
    ]


def quality(snapshot: Snapshot) -> list[Table[Any]]:
    """Return the tables on the quality of answers: corrections, and accuracy against labels."""
    return [agreement(snapshot), accuracy(snapshot)]


def agreement(snapshot: Snapshot) -> Table[figures.AgreementFigures]:
    """Return how often the authoritative pass changed an early answer."""
    return Table(
        "Corrections",
        snapshot.agreement,
        WORKLOAD,
        figure("Compared", "with the authoritative answer", lambda of: count(of.compared)),
        figure("Corrected", "replaced by it", lambda of: count(of.corrected)),
        figure("Agreed", "confirmed by it", lambda of: share(of.agreement)),
    )


def accuracy(snapshot: Snapshot) -> Table[figures.AccuracyFigures]:
    """Return the accuracy of labelled fields."""

    def interval(of: figures.AccuracyFigures) -> str:
        return f"{share(of.low)} to {share(of.high)}"

    return Table(
        "Accuracy against labels",
        snapshot.accuracy,
        WORKLOAD,
        label("Lane", lambda of: lane_name(of.lane)),
        figure("Version", "", lambda of: str(of.version)),
        label("Field", lambda of: of.field),
        figure("Labels", "of fields the lane answered", lambda of: count(of.labels)),
        figure("Right", "share answered as labelled", lambda of: share(of.share)),
        figure("95 % interval", "of the true share (Wilson)", interval),
    )


def rate_or_dash(per_minute: float | None) -> str:
    """Return a rate per minute as text, or a dash for None."""
    return MISSING if per_minute is None else rate(per_minute)


def join_durations(*durations: float | None) -> str:
    """Return durations side by side: "0.40 s / 2.1 s"."""
    return " / ".join(map(seconds, durations))


def _promise(incident: Incident) -> str:
    return TERMS[incident.promise].title + (f", {incident.subject}" if incident.subject else "")


def _incident_state(incident: Incident) -> str:
    severity = incident.severity if incident.state is IncidentState.OPEN else ""
    handled = incident.handling_summary if incident.state is IncidentState.OPEN else ""
    return ", ".join(filter(None, (severity, incident.state, incident.because, handled)))


def _format_failures(lane: LaneFigures) -> str:
    failed = lane.failed_attempts
    return f"{count(failed)} ({share(lane.failure_share)})" if failed else "0"


def _format_unknown(costs: CostFigures) -> str:
    return f"up to {usd(costs.unknown_usd)}" if costs.unknown_usd else MISSING


def _percentiles(lane: LaneFigures) -> str:
    return join_durations(lane.p50_s, lane.p95_s, lane.p99_s) if lane.answers else MISSING


def _sort_by_lane(found: Iterable[DeadlineFigures]) -> Iterator[DeadlineFigures]:
    ordered = sorted(found, key=lambda of: (of.workload, of.lane != "realtime"))
    for (workload, lane), group in groupby(ordered, key=lambda of: (of.workload, of.lane)):
        counts = ((of.met, of.missed, of.overdue) for of in group)
        met, missed, overdue = map(sum, zip(*counts, strict=True))
        yield DeadlineFigures(workload, lane, "", met, missed, overdue)
