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
            heading = f"{incident.severity.capitalize()} now:"
        case IncidentNews.ENDED:
            ended_at = incident.resolved_at or incident.updated_at
            lasted = seconds((ended_at - incident.opened_at).total_seconds())
            mark, heading = ENDED, f"Resolved after {lasted}:"
        case IncidentNews.AGAIN:
            heading = "Still open:"
    line = format_line(incident.sentence, most=MOST_SENTENCE)
    return _message(
        f"{mark} {heading} {escape(line + handled, most=MOST_SENTENCE)}",
        rich(
            section(
                bold(heading), " ", *prose(line), *([f" {format_line(handled)}"] if handled else [])
            )
        ),
    )


def pointer(incident: Incident, channel: str | None) -> SlackMessage:
    """Return the line for the channel of critical incidents that points to an incident's message in another channel."""
    heading = (
        f"Critical now: {TERMS[incident.promise].title}: {format_line(incident.whose, most=60)}"
    )
    where: Block = {"type": "channel", "channel_id": channel or ""}
    title = f"{MARKS[incident.severity]} {escape(heading)}"
    return _message(
        title, rich(section(bold(heading), f". Incident {incident.id}, told in ", where))
    )


def rollout_message(rollout: Rollout, *, ui_url: str) -> SlackMessage:
    """Return the message about the current state of a rollout, with a picture of its steps."""
    state, root = page_of.describe_state(rollout), ui_url.rstrip("/")
    whose = f" for consumer {rollout.consumer}" if rollout.consumer else ""
    signed = (
        f"Playbook {rollout.playbook.name}{whose}, started by {rollout.started_by}: {rollout.why}"
    )
    return _message(
        f"Rollout: {escape(state)}",
        header(f":twisted_rightwards_arrows: Rollout of {escape(rollout.workload, most=60)}"),
        rich(section(bold(format_line(state)))),
        rich(render_code_block(picture(rollout))),
        rich(section(format_line(signed))),
        {"type": "actions", "elements": _pages(rollout, root)},
    )


def rollout_reply(rollout: Rollout, entry: LogEntry, *, ui_url: str) -> SlackMessage:
    """Return the reply about one event of a rollout; a request for approval links to the waiting run."""
    heading = entry.event.replace("_", " ").capitalize()
    step = f"step {entry.step + 1} of {len(rollout.playbook.steps)}"
    heading += f" ({step}, {entry.basis_points / 100:g} % to {rollout.goes_to})"
    why = f"{entry.why} ({entry.who})"
    blocks = [rich(section(bold(heading), " ", format_line(why)))]
    if entry.event is Happened.APPROVAL_ASKED:
        blocks.append({"type": "actions", "elements": _pages(rollout, ui_url.rstrip("/"))})
    return _message(f"{heading}: {escape(why)}", *blocks)


def picture(rollout: Rollout) -> str:
    """Return the steps as lines (done, in force or ahead), with the share of each as a bar."""

    def line(number: int) -> str:
        percent, mark, state = rollout.playbook.steps[number].percent, "·", ""
        if number < rollout.step or rollout.state is RolloutState.FINISHED:
            mark = "✓"
        elif number == rollout.step:
            held = (
                f"holds: {rollout.holds}"
                if rollout.holds and rollout.state is RolloutState.RUNNING
                else ""
            )
            mark = "▶" if rollout.is_open else "✗"
            state = held or str(rollout.state).replace("waiting_", "waits for ")
            state = state.replace("_", " ")
        filled = round(BAR * percent / 100)
        bar = "█" * filled + "░" * (BAR - filled)
        return f"{mark} {number + 1} {bar} {percent:>5g} %  {state}".rstrip()

    return "\n".join(map(line, range(len(rollout.playbook.steps))))


def job_message(job_status: JobStatus, now: datetime, *, ui_url: str) -> SlackMessage:
    """Return the message about the current state of a job."""
    heading = page_of_job.headline(job_status)
    page = ui_url.rstrip("/") + versions_page(page_of_job.key(job_status))
    blocks = (
        section(bold(format_line(heading))),
        render_code_block(page_of_job.bar(job_status)),
        _outlook(job_status, now),
    )
    link: Block = {"type": "actions", "elements": [button("The job", page, "artifact")]}
    return _message(escape(heading), rich(*blocks), link)


def job_reply(job_status: JobStatus, now: datetime) -> SlackMessage:
    """Return the reply that notifies people that a job has ended."""
    message = f"All done: {page_of_job.headline(job_status).rpartition(': ')[2]}"
    return _message(escape(message), rich(section(bold(message)), _outlook(job_status, now)))


def _outlook(job_status: JobStatus, now: datetime) -> Block:
    return bullets([format_line(each) for each in page_of_job.outlook(job_status, now)])


def digest(
    sections: Sequence[tuple[str, Sequence[str]]], day: date, *, ui_url: str
) -> SlackMessage:
    """Return the digest of a day: the sentences of `lanes.report.digest` as lists of rich text."""
    blocks = [header(f":newspaper: Lanes on {day:%Y-%m-%d}")]
    for title, lines in sections:
        blocks.append(rich(section(bold(title)), bullets([format_line(each) for each in lines])))
    link = button("The report", ui_url.rstrip("/") + versions_page(REPORT), "report")
    blocks.append({"type": "actions", "elements": [link]})
    first = " ".join(sections[0][1]) if sections else ""
    return _message(f"Lanes on {day:%Y-%m-%d}: {escape(first)}", *blocks)


def _pages(rollout: Rollout, root: str) -> list[Block]:
    links = [button("The rollout", root + page_of.page(rollout, None), "artifact")]
    if rollout.flow_run_id is not None:
        links.insert(0, button("Open the run", root + run_page(rollout.flow_run_id), "run"))
    return links


def _message(text: str, *blocks: Block) -> SlackMessage:
    return SlackMessage(text, list(blocks), {})
