"""The Markdown pages of an incident and of an outage in Prefect; messages to people link to them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain

from lanes.ids import IncidentId
from lanes.promises.briefing import Briefing, Stake
from lanes.promises.incident import TERMS, Incident, Promise, describe_severity
from lanes.promises.remedy import KEPT_BY, MOST_COMMAND, commands, explain
from lanes.realtime.health import Standstill
from lanes.report import links, rollout
from lanes.report.links import INCIDENTS, REPORTS, render_links
from lanes.report.table import Table, figure, label, render_markdown
from lanes.text import capitalize, cell, plain
from lanes.units import MISSING, clock, count, pluralize
from lanes.words import Lane

MOST_ERROR = 400
ATTEMPTS = "Every attempt stands in `lanes.attempt_log`, with its error and its `flow_run_id`."


def key(incident_id: IncidentId) -> str:
    """Return the artifact's key; the artifact has a version for each message to people."""
    return f"lanes-incident-{incident_id}"


def headline(incident: Incident) -> str:
    """Return the text of the page's header."""
    state = "Resolved" if incident.resolved_at else incident.severity.capitalize()
    return f"{state}: {TERMS[incident.promise].title}: {plain(incident.whose, most=60)}"


def render(
    incident: Incident, briefing: Briefing, *, remedy: tuple[str, str] | None = None, now: datetime
) -> str:
    """Return the artifact's Markdown; a resolved incident keeps its cause but not its last figures.

    `remedy` is the label and the page of the form that applies the remedy.
    """
    todo = [] if incident.resolved_at else _render_advice(incident, briefing, remedy)
    parts = (
        _render_facts(incident, briefing, now),
        _render_cause(incident, briefing),
        todo,
        _render_pages(incident, briefing),
    )
    return "\n".join(chain.from_iterable(parts))


def _render_facts(incident: Incident, briefing: Briefing, now: datetime) -> Iterator[str]:
    subject = f", {cell(incident.subject)}" if incident.subject else ""
    yield f"## {cell(headline(incident))}\n\n{cell(incident.sentence, most=900)}\n\n| | |\n|---|---|"
    yield f"| Workload | {cell(incident.whose)}{subject} |"
    if incident.because:
        yield f"| Why | {incident.because} |"
    if incident.handling_summary and incident.resolved_at is None:
        handling, _, rest = incident.handling_summary.partition(" ")
        yield f"| {handling.capitalize()} | {cell(rest)} |"
    yield f"| Since | {clock(incident.opened_at, beside=now)} |"
    if incident.resolved_at is not None:
        yield from (f"| Until | {clock(incident.resolved_at, beside=now)} |", "")
        return
    stake = briefing.unstaked
    if briefing.stake:
        stake = briefing.stake.format(lambda moment: clock(moment, beside=now))
    if incident.promise == Promise.APPROVAL_WAITS:
        yield "| Who decides | Anyone who may resume runs in Prefect |"
        yield f"| Unanswered | {describe_severity(incident)} |"
    else:
        yield f"| How bad | {describe_severity(incident)} |"
    yield f"| Trend | {cell(capitalize(briefing.trend))} |"
    yield from (f"| At stake | {cell(capitalize(stake))} |", "")


def _render_cause(incident: Incident, briefing: Briefing) -> Iterator[str]:
    yield from ("### Why", "")
    if not briefing.causes:
        yield from (
            cell(incident.why or f"{capitalize(briefing.unexplained)}.", most=MOST_ERROR),
            "",
        )
        return
    over = f" in {briefing.counted_over}" if briefing.counted_over else ""
    yield f"| Times | Error{over} |\n|---:|---|"
    for each in briefing.causes:
        times = MISSING if each.times is None else count(each.times)
        yield f"| {times} | {cell(each.error, most=MOST_ERROR)} |"
    if briefing.more:
        yield f"| {count(briefing.more)} | other errors |"
    yield ""


def _render_advice(
    incident: Incident, briefing: Briefing, remedy: tuple[str, str] | None
) -> Iterator[str]:
    lines = list(commands(incident))
    if (sample := briefing.sample) is not None:
        command = explain(sample.workload, sample.key)
        lines.append(f"{command}   # what happened to one of its items")
    yield from ("### What to do", "", TERMS[incident.promise].advice, "")
    if remedy is not None:
        yield from ("[{}]({})".format(*remedy), "")
    if lines:
        yield from ("", *(f"    {plain(each, most=MOST_COMMAND)}" for each in lines), "")


def _render_pages(incident: Incident, briefing: Briefing) -> Iterator[str]:
    pages = [links.INCIDENTS, links.REPORTS]
    if briefing.flow_run_id is not None:
        pages.insert(0, ("The run", links.run_page(briefing.flow_run_id)))
    if incident.promise in KEPT_BY:
        pages.insert(0, ("Its work pool", links.pool_page(Lane.BATCH)))
    if incident.promise == Promise.APPROVAL_WAITS:
        pages.insert(0, ("The rollout", links.versions_page(rollout.key(incident.workload))))
    if incident.block_id is not None:
        pages.insert(0, ("The block", links.block_page(incident.block_id)))
    yield links.render_links(pages)
    if incident.subject.startswith("batch ") or incident.promise.startswith(
        (Lane.REALTIME, Lane.BATCH)
    ):
        yield from ("", ATTEMPTS)


OUTAGE_KEY = "lanes-outage"  # the key of all versions of the artifact
MOST_LAST_ERROR = 300
MOST_ROWS = 50
KEPT = "Waiting items keep their rank and their retry budget, and are asked again automatically"
OUTAGE_LINKS = (INCIDENTS, ("Real-time runs", "/v2/runs?tags=realtime"), REPORTS)


def outage_message(standing: Sequence[Standstill], *, now: datetime) -> str:
    """Return the message of the run's state: each model or account that does not answer, since when, and its last error."""
    if not standing:
        return f"The provider answers again, since {clock(now, beside=now)}"
    parts = [
        f"{each.whom} has not answered since {clock(each.since, beside=now)}: {plain(each.why, most=MOST_LAST_ERROR)}"
        for each in standing
    ]
    return f"{'; '.join(parts)}. {KEPT}"


def outage_headline(standing: Sequence[Standstill]) -> str:
    """Return the artifact's header."""
    if not standing:
        return "The provider answers again"
    verb = "does" if len(standing) == 1 else "do"
    return f"{' and '.join(plain(each.whom, most=60) for each in standing)} {verb} not answer"


def render_outage(standing: Sequence[Standstill], stake: Stake, *, now: datetime) -> str:
    """Return the artifact's Markdown; `stake` describes the items that wait for the real-time lane."""
    parts = [f"## {outage_headline(standing)}", f"As of {clock(now, beside=now)}."]
    if standing:
        table = Table(
            "Not answering",
            standing,
            label("Model or account", lambda of: of.whom),
            label("Has not answered since", lambda of: clock(of.since, beside=now)),
            figure("Extent", "", lambda of: of.bad or pluralize(of.calls, "call")),
            label("Last error", lambda of: plain(of.why, most=MOST_LAST_ERROR)),
        )
        parts += [render_markdown(table, most=MOST_ROWS), f"{KEPT}."]
    waits = stake.format(lambda moment: clock(moment, beside=now))
    return "\n\n".join([*parts, f"On the real-time lane: {waits}.", render_links(OUTAGE_LINKS)])
