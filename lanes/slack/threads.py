"""Replies in the threads of incidents and rollouts, messages about rollouts and jobs, and the daily digest."""

from collections.abc import Sequence
from datetime import date, datetime

from lanes.promises.incident import TERMS, Incident, IncidentNews
from lanes.report import job as page_of_job
from lanes.report import rollout as page_of
from lanes.report.links import REPORT, run_page, versions_page
from lanes.rollouts.rollout import Happened, LogEntry, Rollout
from lanes.settling.listing import JobStatus
from lanes.slack.wording import (
    ENDED,
    MARKS,
    MOST_SENTENCE,
    Block,
    SlackMessage,
    bold,
    bullets,
    button,
    escape,
    format_line,
    header,
    prose,
    render_code_block,
    rich,
    section,
)
from lanes.units import seconds
from lanes.words import RolloutState

BAR = 10  # characters in a step's bar


def reply(incident: Incident, news: IncidentNews) -> SlackMessage:
    """Return the thread reply that notifies people of an edit of the incident's message."""
    mark, handled = (
        MARKS[incident.severity],
        f" It was {incident.handling_summary}." if incident.handling_summary else "",
    )
    match news:
        case IncidentNews.WORSE:
            said = f"{incident.severity.capitalize()} now:"
        case IncidentNews.ENDED:
            ended_at = incident.resolved_at or incident.updated_at
            lasted = seconds((ended_at - incident.opened_at).total_seconds())
            mark, said = ENDED, f"Resolved after {lasted}:"
        case IncidentNews.AGAIN:
            said = "Still open:"
    told = format_line(incident.sentence, most=MOST_SENTENCE)
    return _message(
        f"{mark} {said} {escape(told + handled, most=MOST_SENTENCE)}",
        rich(
            section(
                bold(said), " ", *prose(told), *([f" {format_line(handled)}"] if handled else [])
            )
        ),
    )


def pointer(incident: Incident, channel: str | None) -> SlackMessage:
    """Return the line for the channel of critical incidents that points to an incident's message in another channel."""
    said = f"Critical now: {TERMS[incident.promise].title}: {format_line(incident.whose, most=60)}"
    where: Block = {"type": "channel", "channel_id": channel or ""}
    told = f"{MARKS[incident.severity]} {escape(said)}"
    return _message(told, rich(section(bold(said), f". Incident {incident.id}, told in ", where)))


def rollout_message(of: Rollout, *, ui_url: str) -> SlackMessage:
    """Return the message about the current state of a rollout, with a picture of its steps."""
    said, root = page_of.describe_state(of), ui_url.rstrip("/")
    whose = f" for consumer {of.consumer}" if of.consumer else ""
    signed = f"Playbook {of.playbook.name}{whose}, started by {of.started_by}: {of.why}"
    return _message(
        f"Rollout: {escape(said)}",
        header(f":twisted_rightwards_arrows: Rollout of {escape(of.workload, most=60)}"),
        rich(section(bold(format_line(said)))),
        rich(render_code_block(picture(of))),
        rich(section(format_line(signed))),
        {"type": "actions", "elements": _pages(of, root)},
    )


def rollout_reply(of: Rollout, entry: LogEntry, *, ui_url: str) -> SlackMessage:
    """Return the reply about one event of a rollout; a request for approval links to the waiting run."""
    said = entry.event.replace("_", " ").capitalize()
    step = f"step {entry.step + 1} of {len(of.playbook.steps)}"
    said += f" ({step}, {entry.basis_points / 100:g} % to {of.goes_to})"
    why = f"{entry.why} ({entry.who})"
    blocks = [rich(section(bold(said), " ", format_line(why)))]
    if entry.event is Happened.APPROVAL_ASKED:
        blocks.append({"type": "actions", "elements": _pages(of, ui_url.rstrip("/"))})
    return _message(f"{said}: {escape(why)}", *blocks)


def picture(of: Rollout) -> str:
    """Return the steps as lines (done, in force or ahead), with the share of each as a bar."""

    def line(number: int) -> str:
        percent, mark, state = of.playbook.steps[number].percent, "·", ""
        if number < of.step or of.state is RolloutState.FINISHED:
            mark = "✓"
        elif number == of.step:
            held = f"holds: {of.holds}" if of.holds and of.state is RolloutState.RUNNING else ""
            mark = "▶" if of.is_open else "✗"
            state = held or str(of.state).replace("waiting_", "waits for ")
            state = state.replace("_", " ")
        filled = round(BAR * percent / 100)
        bar = "█" * filled + "░" * (BAR - filled)
        return f"{mark} {number + 1} {bar} {percent:>5g} %  {state}".rstrip()

    return "\n".join(map(line, range(len(of.playbook.steps))))


def job_message(of: JobStatus, now: datetime, *, ui_url: str) -> SlackMessage:
    """Return the message about the current state of a job."""
    said = page_of_job.headline(of)
    page = ui_url.rstrip("/") + versions_page(page_of_job.key(of))
    told = (
        section(bold(format_line(said))),
        render_code_block(page_of_job.bar(of)),
        _outlook(of, now),
    )
    link: Block = {"type": "actions", "elements": [button("The job", page, "artifact")]}
    return _message(escape(said), rich(*told), link)


def job_reply(of: JobStatus, now: datetime) -> SlackMessage:
    """Return the reply that notifies people that a job has ended."""
    said = f"All done: {page_of_job.headline(of).rpartition(': ')[2]}"
    return _message(escape(said), rich(section(bold(said)), _outlook(of, now)))


def _outlook(of: JobStatus, now: datetime) -> Block:
    return bullets([format_line(each) for each in page_of_job.outlook(of, now)])


def digest(told: Sequence[tuple[str, Sequence[str]]], day: date, *, ui_url: str) -> SlackMessage:
    """Return the digest of a day: the sentences of `lanes.report.digest` as lists of rich text."""
    blocks = [header(f":newspaper: Lanes on {day:%Y-%m-%d}")]
    for title, lines in told:
        blocks.append(rich(section(bold(title)), bullets([format_line(each) for each in lines])))
    link = button("The report", ui_url.rstrip("/") + versions_page(REPORT), "report")
    blocks.append({"type": "actions", "elements": [link]})
    first = " ".join(told[0][1]) if told else ""
    return _message(f"Lanes on {day:%Y-%m-%d}: {escape(first)}", *blocks)


def _pages(of: Rollout, root: str) -> list[Block]:
    links = [button("The rollout", root + page_of.page(of, None), "artifact")]
    if of.flow_run_id is not None:
        links.insert(0, button("Open the run", root + run_page(of.flow_run_id), "run"))
    return links


def _message(text: str, *blocks: Block) -> SlackMessage:
    return SlackMessage(text, list(blocks), {})
