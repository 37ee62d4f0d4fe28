"""An incident as a Slack message (Block Kit). Pure: the same incident gives the same message."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from lanes.incident import TERMS, Incident, IncidentState, Promise, Severity, in_words
from lanes.report.escaping import plain
from lanes.report.units import seconds

EVENT_TYPE = "lanes_incident"
MOST_SENTENCE = 900  # Slack allows 3,000, after escaping
MARKS = {Severity.CRITICAL: ":red_circle:", Severity.WARNING: ":large_yellow_circle:"}
ENDED = ":white_check_mark:"
PAGES = {Promise.WORKLOAD_INVALID: "blocks", Promise.APPROVAL_WAITS: "runs?tags=rollout"}


@dataclass(frozen=True)
class Message:
    """What is sent. `text` is what a phone shows before the message is opened."""

    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any]


def message(incident: Incident, *, ui_url: str, run_id: UUID | None = None) -> Message:
    """The message that says how the incident stands; `ui_url` is the root of the Prefect UI.

    `run_id` names the run that a person has to open.
    """
    over = incident.state is IncidentState.RESOLVED
    terms = TERMS[Promise(incident.promise)]
    workload = escaped(incident.whose, most=60)
    mark = ENDED if over else MARKS[incident.severity]
    status = "Resolved" if over else incident.severity.capitalize()
    heading = f"{terms.title}: {workload}"
    sentence = escaped(incident.sentence, most=MOST_SENTENCE)
    blocks = [
        _header(f"{mark} {'Resolved: ' if over else ''}{heading}"),
        {"type": "section", "text": _markdown(sentence)},
        {"type": "section", "fields": [_markdown(f"*{name}*\n{value}") for name, value in _figures(incident)]},
        *([] if over else [{"type": "context", "elements": [_markdown(f"*What to do:* {escaped(terms.advice)}")]}]),
        {"type": "actions", "elements": [_link("Open in Prefect", _page(incident, ui_url, run_id))]},
        {"type": "context", "elements": [_markdown(_footer(incident))]},
    ]
    payload = {"incident_id": incident.id, "uid": incident.uid, "promise": incident.promise, "state": incident.state}
    metadata = {"event_type": EVENT_TYPE, "event_payload": payload}
    return Message(f"{mark} {status}: {heading}. {sentence}", blocks, metadata)


def reminder(incident: Incident, now: datetime, *, ui_url: str, run_id: UUID | None) -> Message:
    """A reply in the thread of its message, which is told to people where an edit is not."""
    waited = seconds((now - incident.opened_at).total_seconds())
    limit = in_words(incident.promise, incident.limit_value)
    said = f"{TERMS[Promise(incident.promise)].title}: {escaped(incident.whose, most=60)}, for {waited} now (limit {limit})."
    blocks = [
        {"type": "section", "text": _markdown(said)},
        {"type": "actions", "elements": [_link("Open in Prefect", _page(incident, ui_url, run_id))]},
    ]
    return Message(said, blocks, {"event_type": "lanes_reminder", "event_payload": {"uid": incident.uid}})


def trial(now: datetime, *, ui_url: str) -> Message:
    """A message that tells a person that alerts arrive here."""
    said = "Alerts of Lanes arrive here. This is a test: nothing is wrong."
    blocks = [
        _header(":wave: Lanes: a test"),
        {"type": "section", "text": _markdown(said)},
        {"type": "actions", "elements": [_link("Open in Prefect", ui_url.rstrip("/"))]},
        {"type": "context", "elements": [_markdown(f"Sent {_moment(now)} by `lanes alerts --test`")]},
    ]
    return Message(said, blocks, {"event_type": "lanes_test", "event_payload": {"sent_at": now.isoformat()}})


def escaped(text: object, *, most: int = 300) -> str:
    """One line that Slack shows as it is: no mentions, no links, no markup of an item's own."""
    line = plain(text, most=most)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _figures(incident: Incident) -> list[tuple[str, str]]:
    value, limit = in_words(incident.promise, incident.value), in_words(incident.promise, incident.limit_value)
    figure = f"{value} (limit {limit})" if incident.limit_value else value
    what = escaped(incident.whose, most=60) + (f", {escaped(incident.subject, most=60)}" if incident.subject else "")
    if incident.resolved_at is not None:
        lasted = seconds((incident.resolved_at - incident.opened_at).total_seconds())
        time = ("Lasted", f"{lasted}, until {_moment(incident.resolved_at)}")
        return [("Workload", what), ("Opened", _moment(incident.opened_at)), time]
    severity = str(incident.severity)
    return [("Workload", what), ("Figure", figure), ("Opened", _moment(incident.opened_at)), ("Severity", severity)]


def _footer(incident: Incident) -> str:
    asof = "" if incident.resolved_at else f" · as of {_moment(incident.updated_at)}"
    return f"Lanes incident {incident.id} · promise `{escaped(incident.promise)}`{asof} · all of them: `lanes alerts`"


def _page(incident: Incident, ui_url: str, run_id: UUID | None) -> str:
    promise = Promise(incident.promise)
    if run_id is not None:
        return f"{ui_url.rstrip('/')}/v2/runs/flow-run/{run_id}"
    lane = "realtime" if promise.startswith("realtime") or promise is Promise.PROVIDER_DOWN else "batch"
    return f"{ui_url.rstrip('/')}/v2/{PAGES.get(promise, f'runs?tags={lane}')}"


def _moment(moment: datetime) -> str:
    """A moment in the reader's own time zone, in UTC where Slack cannot tell it."""
    utc = moment.astimezone(UTC)
    return f"<!date^{int(utc.timestamp())}^{{date_short_pretty}} {{time}}|{utc:%Y-%m-%d %H:%M} UTC>"


def _header(text: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": text[:150], "emoji": True}}


def _markdown(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def _link(text: str, url: str) -> dict[str, Any]:
    label = {"type": "plain_text", "text": text, "emoji": False}
    return {"type": "button", "action_id": "lanes_open", "text": label, "url": url}
