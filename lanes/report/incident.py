"""An incident as a Prefect Markdown artifact: everything known about it. The incident's message links to it."""

from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from lanes.ids import IncidentId
from lanes.promises.briefing import Briefing
from lanes.promises.incident import TERMS, Incident, Promise, how_bad
from lanes.promises.remedy import KEPT_BY, commands, explain
from lanes.report import links, rollout
from lanes.text import capitalized, cell, plain
from lanes.units import MISSING, clock, count
from lanes.words import Lane

MOST_ERROR = 400
ATTEMPTS = "Every attempt stands in `lanes.attempt_log`, with its error and its `flow_run_id`."


def key(incident_id: IncidentId) -> str:
    """Return the artifact's key; it has a version for each message to people."""
    return f"lanes-incident-{incident_id}"


def headline(of: Incident) -> str:
    """Return the text of the page's header."""
    state = "Resolved" if of.resolved_at else of.severity.capitalize()
    return f"{state}: {TERMS[of.promise].title}: {plain(of.whose, most=60)}"


def render(
    of: Incident, briefing: Briefing, *, remedy: tuple[str, str] | None = None, now: datetime
) -> str:
    """Return the artifact's Markdown; one that is over keeps its cause but not its last figures.

    `remedy` is the label and the page of the form that helps.
    """
    todo = [] if of.resolved_at else _what_to_do(of, briefing, remedy)
    parts = (_standing(of, briefing, now), _why(of, briefing), todo, _where(of, briefing))
    return "\n".join(chain.from_iterable(parts))


def _standing(of: Incident, briefing: Briefing, now: datetime) -> Iterator[str]:
    subject = f", {cell(of.subject)}" if of.subject else ""
    yield f"## {cell(headline(of))}\n\n{cell(of.sentence, most=900)}\n\n| | |\n|---|---|"
    yield f"| Workload | {cell(of.whose)}{subject} |"
    if of.because:
        yield f"| Why | {of.because} |"
    if of.handled and of.resolved_at is None:
        what, _, rest = of.handled.partition(" ")
        yield f"| {what.capitalize()} | {cell(rest)} |"
    yield f"| Since | {clock(of.opened_at, beside=now)} |"
    if of.resolved_at is not None:
        yield from (f"| Until | {clock(of.resolved_at, beside=now)} |", "")
        return
    stake = briefing.unstaked
    if briefing.stake:
        stake = briefing.stake.in_words(lambda moment: clock(moment, beside=now))
    if of.promise == Promise.APPROVAL_WAITS:
        yield "| Who decides | Anyone who may resume runs in Prefect |"
        yield f"| Unanswered | {how_bad(of)} |"
    else:
        yield f"| How bad | {how_bad(of)} |"
    yield f"| Trend | {cell(capitalized(briefing.trend))} |"
    yield from (f"| At stake | {cell(capitalized(stake))} |", "")


def _why(of: Incident, briefing: Briefing) -> Iterator[str]:
    yield from ("### Why", "")
    if not briefing.causes:
        yield from (cell(of.why or f"{capitalized(briefing.unexplained)}.", most=MOST_ERROR), "")
        return
    over = f" in {briefing.counted_over}" if briefing.counted_over else ""
    yield f"| Times | Error{over} |\n|---:|---|"
    for each in briefing.causes:
        times = MISSING if each.times is None else count(each.times)
        yield f"| {times} | {cell(each.error, most=MOST_ERROR)} |"
    if briefing.more:
        yield f"| {count(briefing.more)} | other errors |"
    yield ""


def _what_to_do(of: Incident, briefing: Briefing, remedy: tuple[str, str] | None) -> Iterator[str]:
    lines = list(commands(of))
    if (sample := briefing.sample) is not None:
        said = explain(sample.workload, sample.key)
        lines.append(f"{said}   # what happened to one of its items")
    yield from ("### What to do", "", TERMS[of.promise].advice, "")
    if remedy is not None:
        yield from ("[{}]({})".format(*remedy), "")
    if lines:
        yield from ("", *(f"    {plain(each, most=400)}" for each in lines), "")


def _where(of: Incident, briefing: Briefing) -> Iterator[str]:
    pages = [links.INCIDENTS, links.REPORTS]
    if briefing.flow_run_id is not None:
        pages.insert(0, ("The run", links.run_page(briefing.flow_run_id)))
    if of.promise in KEPT_BY:
        pages.insert(0, ("Its work pool", links.pool_page(Lane.BATCH)))
    if of.promise == Promise.APPROVAL_WAITS:
        pages.insert(0, ("The rollout", links.versions_page(rollout.key(of.workload))))
    if of.block_id is not None:
        pages.insert(0, ("The block", links.block_page(of.block_id)))
    yield links.linked(pages)
    if of.subject.startswith("batch ") or of.promise.startswith((Lane.REALTIME, Lane.BATCH)):
        yield from ("", ATTEMPTS)
