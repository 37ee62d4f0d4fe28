"""Incidents as Slack messages (Block Kit), and the building blocks of messages.

Text from outside is sent as rich text, which Slack shows literally: no mention, link or markup of an item takes effect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from lanes.promises.briefing import UNSTAKED, Briefing, Cause
from lanes.promises.incident import (
    TERMS,
    Incident,
    IncidentState,
    Promise,
    Severity,
    describe_severity,
)
from lanes.promises.remedy import KEPT_BY, MOST_COMMAND, commands, explain, form
from lanes.report.links import block_page, pool_page, run_page
from lanes.text import capitalize, plain
from lanes.units import pluralize, seconds
from lanes.words import Lane

EVENT_TYPE = "lanes_incident"
MOST_SENTENCE = 900  # Slack allows 3,000, after escaping
MOST_ERROR = 300
MOST_NAMED = 10  # incidents named in a message
MARKS = {
    Severity.CRITICAL: ":red_circle:",
    Severity.WARNING: ":large_yellow_circle:",
    Severity.DIGEST: ":large_blue_circle:",
}
ENDED = ":white_check_mark:"
PAGES = {
    Promise.WORKLOAD_INVALID: "/v2/blocks",
    Promise.APPROVAL_WAITS: "/v2/runs?tags=rollout",
    Promise.ROLE_TAKEN: "/v2/runs",
    Promise.BILL_DIFFERS: "/v2/runs?tags=batch",
    Promise.WEBHOOK_GONE: "/v2/blocks",
}
UNTOLD = "it was not looked up"
Block = dict[str, Any]


@dataclass(frozen=True)
class SlackMessage:
    """A message; `text` is the notification that a phone shows before the message is opened."""

    text: str
    blocks: list[Block]
    metadata: dict[str, Any]

    @property
    def content(self) -> dict[str, Any]:
        """The message as arguments of Slack's Web API."""
        return {"text": self.text, "blocks": self.blocks, "metadata": self.metadata}


@dataclass(frozen=True)
class IncidentPages:
    """Paths of pages in the Prefect UI that only Prefect knows; `no_artifact` says why `artifact` is missing."""

    artifact: str | None = None
    no_artifact: str = ""
    form: str | None = None
    acknowledge: str | None = None
    silence: str | None = None


def message(
    incident: Incident,
    briefing: Briefing | None = None,
    pages: IncidentPages | None = None,
    *,
    explains: Sequence[Incident] = (),
    ui_url: str,
) -> SlackMessage:
    """Return the message about the incident's current state; `explains` are the open incidents whose parent it is.

    `ui_url` is the root of the Prefect UI.
    """
    over, root = incident.state is IncidentState.RESOLVED, ui_url.rstrip("/")
    briefing = briefing or Briefing(
        unexplained=UNTOLD, unstaked=UNTOLD, trend=UNTOLD, unsampled=UNTOLD, no_run=UNTOLD
    )
    pages = pages or IncidentPages(no_artifact=UNTOLD)
    mark = ENDED if over else MARKS[incident.severity]
    heading = f"{TERMS[incident.promise].title}: {escape(incident.whose, most=60)}"
    blocks = [
        header(f"{mark} {'Resolved: ' if over else ''}{heading}"),
        rich(section(*prose(format_line(incident.sentence, most=MOST_SENTENCE)))),
        fields(_list_ended_fields(incident) if over else _list_open_fields(incident, briefing)),
        *([] if over else _render_handling(incident)),
        *([] if over or not explains else [_render_explained(explains)]),
        *(
            _render_past_cause(incident, briefing)
            if over
            else [rich(*_causes("Why", briefing)), _render_advice(incident, briefing)]
        ),
        {"type": "actions", "elements": _links(incident, briefing, pages, root, over=over)},
        *([] if over else _render_unknown(briefing, pages)),
        context(_footer(incident)),
    ]
    payload = {
        "incident_id": incident.id,
        "uid": incident.uid,
        "promise": incident.promise,
        "state": incident.state,
    }
    metadata = {"event_type": EVENT_TYPE, "event_payload": payload}
    return SlackMessage(
        _notification(incident, briefing, mark, heading, over=over), blocks, metadata
    )


def reminder(
    incident: Incident, now: datetime, *, ui_url: str, run_id: UUID | None
) -> SlackMessage:
    """Return a reply for the thread of the incident's message, because Slack notifies people of replies but not of edits."""
    waited = seconds((now - incident.opened_at).total_seconds())
    text = (
        f"{TERMS[incident.promise].title}: {escape(incident.whose, most=60)}, for {waited} so far."
    )
    text += f" Without an answer, it is rolled back {moment(_answer_by(incident))}."
    page = _overview(incident) if run_id is None else run_page(run_id)
    blocks = [
        {"type": "section", "text": markdown(text)},
        {
            "type": "actions",
            "elements": [button("Open in Prefect", ui_url.rstrip("/") + page, "run")],
        },
    ]
    return SlackMessage(
        text, blocks, {"event_type": "lanes_reminder", "event_payload": {"uid": incident.uid}}
    )


def trial(now: datetime, *, ui_url: str) -> SlackMessage:
    """Return a test message, to check that alerts arrive."""
    text = "Alerts of Lanes arrive here. This is a test: nothing is wrong."
    blocks = [
        header(":wave: Lanes: a test"),
        {"type": "section", "text": markdown(text)},
        {"type": "actions", "elements": [button("Open in Prefect", ui_url.rstrip("/"), "run")]},
        context(f"Sent {moment(now)} by `lanes alerts --test`"),
    ]
    return SlackMessage(
        text, blocks, {"event_type": "lanes_test", "event_payload": {"sent_at": now.isoformat()}}
    )


def _notification(
    incident: Incident, briefing: Briefing, mark: str, heading: str, *, over: bool
) -> str:
    """Return the notification for a phone; it includes the most frequent error, because a phone shows nothing else."""
    status = "Resolved" if over else incident.severity.capitalize()
    text = f"{mark} {status}: {heading}. {escape(incident.sentence, most=MOST_SENTENCE)}"
    if over or not briefing.causes or incident.why:
        return text
    return f"{text} Why: {escape(_format_cause(briefing.causes[0]), most=MOST_ERROR)}"


def _list_open_fields(incident: Incident, briefing: Briefing) -> list[tuple[str, str]]:
    if incident.promise == Promise.APPROVAL_WAITS:
        return _list_question_fields(incident)
    stake = briefing.stake.format(moment) if briefing.stake else escape(briefing.unstaked)
    return [
        ("Workload", _format_subject(incident)),
        ("Since", moment(incident.opened_at)),
        ("How bad", f"{describe_severity(incident)}, {incident.severity}"),
        ("Trend", capitalize(escape(briefing.trend))),
        ("At stake", capitalize(stake)),
    ]


def _list_question_fields(incident: Incident) -> list[tuple[str, str]]:
    """Return the fields of a question, where nothing is broken and a person must decide."""
    return [
        ("Workload", _format_subject(incident)),
        ("Waiting since", moment(incident.opened_at)),
        ("Who decides", "Anyone who may resume runs in Prefect"),
        ("Without an answer", f"Rolled back {moment(_answer_by(incident))}"),
        ("At stake", capitalize(UNSTAKED[Promise.APPROVAL_WAITS])),
    ]


def _answer_by(incident: Incident) -> datetime:
    return incident.opened_at + timedelta(minutes=incident.limit_value)


def _render_handling(incident: Incident) -> list[Block]:
    """Return who silenced or acknowledged the incident, until when and why."""
    if not (handling := incident.handling_summary):
        return []
    what, _, rest = handling.partition(" ")
    return [rich(section(bold(what.capitalize()), f" {format_line(rest)}"))]


def _render_explained(explains: Sequence[Incident]) -> Block:
    """Return the number and the first of the incidents that this one explains; they are posted only if they outlast it."""
    names = [
        f"{format_line(each.whose, most=60)}: {TERMS[each.promise].title}" for each in explains
    ]
    more = len(names) - MOST_NAMED
    rest = [f"{more:,} more"] if more > 0 else []
    count = pluralize(len(names), "other incident")
    return rich(section(bold("Explains"), f"  {count}:"), bullets(names[:MOST_NAMED] + rest))


def _list_ended_fields(incident: Incident) -> list[tuple[str, str]]:
    ended_at = incident.resolved_at or incident.updated_at
    lasted = seconds((ended_at - incident.opened_at).total_seconds())
    since = moment(incident.opened_at)
    return [
        ("Workload", _format_subject(incident)),
        ("Opened", since),
        ("Lasted", f"{lasted}, until {moment(ended_at)}"),
    ]


def _format_subject(incident: Incident) -> str:
    return escape(incident.whose, most=60) + (
        f", {escape(incident.subject, most=60)}" if incident.subject else ""
    )


def _render_past_cause(incident: Incident, briefing: Briefing) -> list[Block]:
    """Return the cause of a resolved incident, without its last figure."""
    if incident.why and incident.why in incident.sentence:
        return []
    if incident.why and not briefing.causes:
        return [rich(section(bold("Cause"), f"  {format_line(incident.why, most=MOST_SENTENCE)}"))]
    return [rich(*_causes("Cause", briefing))]


def _causes(title: str, briefing: Briefing) -> list[Block]:
    if not briefing.causes:
        return [
            section(bold(title), "  ", *prose(f"{capitalize(format_line(briefing.unexplained))}."))
        ]
    over = f"  in {briefing.counted_over}" if briefing.counted_over else " "
    more = [f"{briefing.more:,}x other errors"] if briefing.more else []
    lines = [format_line(_format_cause(each)) for each in briefing.causes] + more
    return [section(bold(title), over), bullets(lines)]


def _render_advice(incident: Incident, briefing: Briefing) -> Block:
    parts = [section(bold("What to do"), "  ", *prose(TERMS[incident.promise].advice))]
    if lines := [format_line(each, most=MOST_COMMAND) for each in commands(incident)]:
        parts.append(render_code_block("\n".join(lines)))
    if briefing.sample is not None:
        of_item = explain(briefing.sample.workload, briefing.sample.key)
        parts += [section("What happened to one of its items:"), render_code_block(of_item)]
    return rich(*parts)


def _links(
    incident: Incident, briefing: Briefing, pages: IncidentPages, root: str, *, over: bool
) -> list[Block]:
    """Return the links: the most helpful form first, no page twice, and the lane's runs if there are no other links."""
    main_form, links = form(incident), list[Block]()
    form_path = pages.form or (block_page(incident.block_id) if incident.block_id else None)
    if main_form is not None and form_path is not None and not over:
        links.append(button(main_form.label, root + form_path, "form"))
    if briefing.flow_run_id is not None and (over or form_path != run_page(briefing.flow_run_id)):
        links.append(button("Open the run", root + run_page(briefing.flow_run_id), "run"))
    if pages.artifact is not None:
        links.append(button("Details", root + pages.artifact, "artifact"))
    if incident.promise in KEPT_BY and not over:
        links.append(button("Its work pool", root + pool_page(Lane.BATCH), "pool"))
    handling = {"Acknowledge": pages.acknowledge, "Silence": pages.silence}
    links += [
        button(name, root + page, name.lower())
        for name, page in handling.items()
        if page is not None and not over
    ]
    return links or [button("Open in Prefect", root + _overview(incident), "overview")]


def _render_unknown(briefing: Briefing, pages: IncidentPages) -> list[Block]:
    reasons = {
        "run": briefing.no_run,
        "artifact": pages.no_artifact,
        "sample item": briefing.unsampled,
    }
    sentences = [f"No {part}: {escape(reason)}." for part, reason in reasons.items() if reason]
    return [context(" ".join(sentences))] if sentences else []


def _overview(incident: Incident) -> str:
    promise = incident.promise
    lane = (
        "realtime"
        if promise.startswith("realtime") or promise is Promise.PROVIDER_DOWN
        else "batch"
    )
    return PAGES.get(promise, f"/v2/runs?tags={lane}")


def _footer(incident: Incident) -> str:
    asof = "" if incident.resolved_at else f" · as of {moment(incident.updated_at)}"
    because = f" {incident.because}" if incident.because else ""
    promise = escape(incident.promise)
    return f"Lanes incident {incident.id}{because} · promise `{promise}`{asof} · all incidents: `lanes alerts`"


def _format_cause(cause: Cause) -> str:
    return cause.error if cause.times is None else f"{cause.times:,}x {cause.error}"


def format_line(text: object, *, most: int = MOST_ERROR) -> str:
    """Return the text as one line of rich text, which is never empty."""
    return plain(text, most=most) or "-"


def escape(text: object, *, most: int = 300) -> str:
    """Return the text as one line of Slack markup, escaped so that it forms no mention and no link."""
    line = plain(text, most=most)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def header(text: str) -> Block:
    """Return a heading of at most 150 characters."""
    return {"type": "header", "text": {"type": "plain_text", "text": text[:150], "emoji": True}}


def fields(named: Sequence[tuple[str, str]]) -> Block:
    """Return named values, which Slack shows side by side."""
    return {"type": "section", "fields": [markdown(f"*{name}*\n{value}") for name, value in named]}


def context(text: str) -> Block:
    """Return a line of small print."""
    return {"type": "context", "elements": [markdown(text)]}


def markdown(text: str) -> Block:
    """Return text in Slack markup, in which names do not become links."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def rich(*parts: Block) -> Block:
    """Return a block of rich text."""
    return {"type": "rich_text", "elements": list(parts)}


def section(*texts: str | Mapping[str, Any]) -> Block:
    """Return a paragraph of rich text."""
    return {
        "type": "rich_text_section",
        "elements": [text_run(each) if isinstance(each, str) else dict(each) for each in texts],
    }


def render_code_block(text: str) -> Block:
    """Return lines in a monospaced font."""
    return {"type": "rich_text_preformatted", "elements": [text_run(text)]}


def prose(text: str) -> list[Block]:
    """Return the text, with the parts in backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return [text_run(text)]
    styled = [
        text_run(each) | ({"style": {"code": True}} if number % 2 else {})
        for number, each in enumerate(parts)
    ]
    return [each for each in styled if each["text"]] or [text_run("-")]


def text_run(text: str) -> Block:
    """Return unstyled rich text."""
    return {"type": "text", "text": text}


def bold(text: str) -> Block:
    """Return bold rich text."""
    return {"type": "text", "text": text, "style": {"bold": True}}


def button(text: str, url: str, what: str) -> Block:
    """Return a button that opens a URL; `what` must be unique among the buttons of a message."""
    label = {"type": "plain_text", "text": text, "emoji": False}
    return {"type": "button", "action_id": f"lanes_open_{what}", "text": label, "url": url}


def bullets(lines: Sequence[str]) -> Block:
    """Return a bulleted list of rich text."""
    elements = [section(each) for each in lines]
    return {"type": "rich_text_list", "style": "bullet", "elements": elements}


def moment(at: datetime) -> str:
    """Return a moment in the reader's time zone, or in UTC if Slack does not know the zone."""
    utc = at.astimezone(UTC)
    return f"<!date^{int(utc.timestamp())}^{{date_short_pretty}} {{time}}|{utc:%Y-%m-%d %H:%M} UTC>"
