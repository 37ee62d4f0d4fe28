"""The daily digest in words, for Slack and for the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from lanes.advice.proposals import ProposedRollout
from lanes.promises.incident import TERMS, Incident, IncidentState, Promise, Severity
from lanes.promises.remedy import commands
from lanes.report import summary
from lanes.report.rollout import describe_state
from lanes.report.snapshot import Snapshot
from lanes.units import count, pluralize, share
from lanes.words import ItemState, RolloutState

MOST = 10  # lines in each part


@dataclass(frozen=True)
class DailyFigures:
    """The figures of a day; `lacking` contains a sentence for each open rollout whose accuracy gate lacks labels."""

    snapshot: Snapshot
    opened: int  # incidents
    ended: int
    proposals: Sequence[ProposedRollout]
    lacking: Sequence[str]


def parts(figures: DailyFigures) -> list[tuple[str, list[str]]]:
    """Return the titled parts of the digest, each with at least one line."""
    snapshot = figures.snapshot
    found = [
        (
            "The lanes",
            summary.sentences(snapshot) or [f"Nothing arrived {summary.period(snapshot)}."],
        ),
        ("Quality", _quality(snapshot)),
        ("Incidents", _incidents(figures)),
        ("What needs a person", _list_needs(figures) or ["Nothing."]),
    ]
    return [(title, _cut(lines)) for title, lines in found if lines]


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - MOST
    return lines[:MOST] + ([f"{count(more)} more"] if more > 0 else [])


def _quality(snapshot: Snapshot) -> list[str]:
    agreed = [
        f"{each.workload}: {share(each.agreement)} of {pluralize(each.compared, 'early answer')} confirmed by a batch."
        for each in snapshot.agreement
    ]
    return agreed + [
        f"{each.workload}, {summary.lane_name(each.lane)}, {each.field}: {share(each.share)} right "
        f"({share(each.low)} to {share(each.high)}) by {pluralize(each.labels, 'label')}."
        for each in snapshot.accuracy
    ]


def _incidents(figures: DailyFigures) -> list[str]:
    """Return the counts, the incidents that only the digest reports (open or resolved), and the other open incidents."""
    incidents = figures.snapshot.incidents
    still = sum(each.state is IncidentState.OPEN for each in incidents)
    first = f"{count(figures.opened)} opened, {count(figures.ended)} ended, {count(still)} open."
    only_here = [each for each in incidents if each.severity is Severity.DIGEST]
    others = [e for e in incidents if e.state is IncidentState.OPEN and e not in only_here]
    return [first, *map(_describe_incident, [*only_here, *others])]


def _describe_incident(incident: Incident) -> str:
    over = f", {incident.state}" if incident.state is IncidentState.RESOLVED else ""
    handled = f" ({incident.handling_summary})" if incident.handling_summary and not over else ""
    title, typed = (
        TERMS[incident.promise].title,
        commands(incident) if incident.severity is Severity.DIGEST else [],
    )
    to_do = f" Type `{typed[0].partition('   #')[0]}`." if typed else ""
    return f"#{incident.id} {incident.severity}{over}, {incident.whose}: {title}. {incident.sentence}{to_do}{handled}"


def _list_needs(figures: DailyFigures) -> list[str]:
    snapshot = figures.snapshot
    waiting_rollouts = [
        each for each in snapshot.rollouts if each.state is RolloutState.WAITING_APPROVAL
    ]
    unclear_incidents = [
        each
        for each in snapshot.incidents
        if each.promise == Promise.BATCH_UNCLEAR and each.state is IncidentState.OPEN
    ]
    failed = summary.items(snapshot, [ItemState.FAILED])
    return [
        *(f"Approve or decline: {describe_state(each)}." for each in waiting_rollouts),
        *(
            f"Decide proposal {each.id}: {each.consumer} of {each.workload}, by {each.playbook.name}."
            for each in figures.proposals
        ),
        *(
            f"Decide about {each.subject} of {each.workload}: lanes batches shows it."
            for each in unclear_incidents
        ),
        *(f"Labels are lacking: {each}." for each in figures.lacking),
        *([f"{pluralize(failed, 'item')} failed: lanes retry tries them again."] if failed else []),
    ]
