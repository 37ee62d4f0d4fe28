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


def parts(of: DailyFigures) -> list[tuple[str, list[str]]]:
    """Return the titled parts of the digest, each with at least one line."""
    seen = of.snapshot
    found = [
        ("The lanes", summary.sentences(seen) or [f"Nothing arrived {summary.period(seen)}."]),
        ("Quality", _quality(seen)),
        ("Incidents", _incidents(of)),
        ("What needs a person", _list_needs(of) or ["Nothing."]),
    ]
    return [(title, _cut(lines)) for title, lines in found if lines]


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - MOST
    return lines[:MOST] + ([f"{count(more)} more"] if more > 0 else [])


def _quality(seen: Snapshot) -> list[str]:
    agreed = [
        f"{each.workload}: {share(each.agreement)} of {pluralize(each.compared, 'early answer')} confirmed by a batch."
        for each in seen.agreement
    ]
    return agreed + [
        f"{each.workload}, {summary.lane_name(each.lane)}, {each.field}: {share(each.share)} right "
        f"({share(each.low)} to {share(each.high)}) by {pluralize(each.labels, 'label')}."
        for each in seen.accuracy
    ]


def _incidents(of: DailyFigures) -> list[str]:
    """Return the counts, the incidents that only the digest reports (open or resolved), and the other open incidents."""
    seen = of.snapshot.incidents
    still = sum(each.state is IncidentState.OPEN for each in seen)
    first = f"{count(of.opened)} opened, {count(of.ended)} ended, {count(still)} open."
    only_here = [each for each in seen if each.severity is Severity.DIGEST]
    others = [e for e in seen if e.state is IncidentState.OPEN and e not in only_here]
    return [first, *map(_describe_incident, [*only_here, *others])]


def _describe_incident(of: Incident) -> str:
    over = f", {of.state}" if of.state is IncidentState.RESOLVED else ""
    handled = f" ({of.handling_summary})" if of.handling_summary and not over else ""
    title, typed = TERMS[of.promise].title, commands(of) if of.severity is Severity.DIGEST else []
    to_do = f" Type `{typed[0].partition('   #')[0]}`." if typed else ""
    return f"#{of.id} {of.severity}{over}, {of.whose}: {title}. {of.sentence}{to_do}{handled}"


def _list_needs(of: DailyFigures) -> list[str]:
    seen = of.snapshot
    asked = [each for each in seen.rollouts if each.state is RolloutState.WAITING_APPROVAL]
    held = [
        each
        for each in seen.incidents
        if each.promise == Promise.BATCH_UNCLEAR and each.state is IncidentState.OPEN
    ]
    failed = summary.items(seen, [ItemState.FAILED])
    return [
        *(f"Approve or decline: {describe_state(each)}." for each in asked),
        *(
            f"Decide proposal {each.id}: {each.consumer} of {each.workload}, by {each.playbook.name}."
            for each in of.proposals
        ),
        *(
            f"Decide about {each.subject} of {each.workload}: lanes batches shows it."
            for each in held
        ),
        *(f"Labels are lacking: {each}." for each in of.lacking),
        *([f"{pluralize(failed, 'item')} failed: lanes retry tries them again."] if failed else []),
    ]
