"""What to do about an incident's message next. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from lanes.backoff import Backoff
from lanes.promises.incident import Incident, IncidentState, Severity

BACKOFF = Backoff(timedelta(seconds=5), timedelta(minutes=10))
EDIT_EVERY = timedelta(minutes=5)  # a figure that changed is told no more often
READ_WITHIN = timedelta(
    minutes=1
)  # what a message says was read so long at most before it was sent


class Move(StrEnum):
    """The next step."""

    NOTHING = "nothing"
    POST = "post"
    EDIT = "edit"


@dataclass(frozen=True)
class Post:
    """An incident beside what Slack was told of it. `unsure`: a post was begun and nobody knows how it ended."""

    incident: Incident
    channel: str | None = None
    ts: str | None = None
    posted_state: IncidentState | None = None
    posted_severity: Severity | None = None
    posted_at: datetime | None = None
    unsure: bool = False
    attempts: int = 0


@dataclass(frozen=True)
class Reminder:
    """An incident that waits for a person, and where its message stands."""

    incident: Incident
    channel: str | None
    ts: str


def next_move(post: Post, *, edits: bool, now: datetime) -> Move:
    """Post what was never told; tell the end; edit a message whose figures changed. A webhook cannot edit."""
    told, incident = post.posted_state, post.incident
    if told is None:
        return Move.POST
    if told is IncidentState.RESOLVED:
        return Move.NOTHING
    can_edit = edits and post.ts is not None
    if incident.state is IncidentState.RESOLVED:
        return Move.EDIT if can_edit else Move.POST
    return Move.EDIT if can_edit and _worth_an_edit(post, now) else Move.NOTHING


def rest(attempts: int, *, retry_after_s: float | None = None) -> timedelta:
    """How long a post rests after its n-th failed try: 5 s, doubling up to 10 minutes, or as long as Slack asks for."""
    asked = timedelta(seconds=min(retry_after_s or 0, 3600))
    return max(BACKOFF.after(max(attempts, 1)), asked)


def _worth_an_edit(post: Post, now: datetime) -> bool:
    if post.posted_severity != post.incident.severity:
        return True
    at = post.posted_at
    return at is not None and now - at >= EDIT_EVERY and post.incident.updated_at > at - READ_WITHIN
