"""Outgoing webhooks: events in commit order, each subscriber's position in them, and failed deliveries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from lanes.backoff import Backoff
from lanes.errors import ActionRefused
from lanes.promises.breaches import webhook_gone
from lanes.promises.incident import EVERYBODY, Promise
from lanes.store import incidents
from lanes.store.signals import CLASS
from lanes.store.tables import watermark, webhook, webhook_event, webhook_try

STREAM = "webhooks"
MOST_STAMPED = 5_000
MOST_TRIES = 7
AGAIN = Backoff.from_seconds(5, 5 * 3600, factor=5)  # 5 s, 25 s, 2 min, 10 min, 52 min, 4 h
OPENS_AFTER = 5  # failed requests in a row
# The rest of an open circuit. One trial request then closes the circuit or prolongs the rest.
REST = Backoff.from_seconds(15, 900)
LONGEST_WISH = timedelta(hours=1)  # longest Retry-After of a subscriber that is followed

OUTPUTS = sa.text(
    "select key, output from lanes.current_results where workload = :workload and key = any (:keys)"
)

# True while the process that holds the lease is alive: it holds the advisory lock of its number, which ends with its session.
ALIVE = f"""
exists (select from pg_locks where locktype = 'advisory' and granted and classid = {CLASS}
           and objid = ('x' || right(webhook.holder, 7))::bit(28)::int::oid
           and database = (select oid from pg_database where datname = current_database()))
"""

# The last position assigned to an event.
LAST = sa.select(watermark.c.position).where(watermark.c.name == STREAM)

Subscriber = sa.Row[Any]


def lock_number(holder: str) -> int:
    """Return the number of the advisory lock that a process holds while it delivers: its name's last seven hex digits."""
    return int(holder[-7:], 16)


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event of the stream; `attempts` is the number of failed requests that sent the event to this subscriber."""

    id: str
    position: int
    event: str
    resource: str
    payload: dict[str, Any]
    occurred_at: datetime
    attempts: int = 0

    @property
    def subject(self) -> str:
        """The subject of the event; events of one subject are delivered in order."""
        of = ("key", "job", "batch_id", "incident_id", "rollout_id")
        found = next((f"{each} {self.payload[each]}" for each in of if each in self.payload), "")
        return f"{self.resource} {found}"


@dataclass(frozen=True, slots=True)
class WebhookPage:
    """Events to send to a subscriber now, events that wait `behind` one of the same subject, and the last position read."""

    to: Subscriber
    send: list[KeptEvent]
    behind: list[KeptEvent]
    end: int


@dataclass(frozen=True, slots=True)
class WebhookReply:
    """The outcome of one request; `error` is None if the subscriber accepted the event."""

    error: str | None
    retry_after: timedelta = timedelta(0)
    gone: bool = False


def stamp(connection: sa.Connection, *, now: datetime) -> int:
    """Assign positions to events committed so far, at most `MOST_STAMPED`; return their number.

    One transaction at a time does this, so a reader who sees position N also sees all events with lower positions.
    """
    new = sa.exists().where(sa.text("position is null")).select_from(webhook_event)
    last = LAST.where(new).with_for_update(skip_locked=True)
    if (last_position := connection.execute(last).scalar()) is None:
        return 0
    stamped = connection.execute(
        sa.text("""
            update lanes.webhook_event e set position = :before + n.number
              from (select id, row_number() over (order by id) as number
                      from (select id from lanes.webhook_event where position is null order by id limit :most) f) n
             where e.id = n.id
        """),
        {"before": last_position, "most": MOST_STAMPED},
    ).rowcount
    if stamped:
        moved = sa.update(watermark).where(watermark.c.name == STREAM)
        connection.execute(moved.values(position=last_position + stamped, seen_until=now))
    return stamped


def list_due(connection: sa.Connection, *, now: datetime) -> list[int]:
    """Return the ids of the subscribers that have an event to send now, and to which no process is delivering."""
    tried = sa.exists().where(
        webhook_try.c.webhook_id == webhook.c.id, webhook_try.c.next_try_at <= now
    )
    wanted = sa.select(webhook.c.id).where(
        *_free(now), sa.or_(webhook.c.position < LAST.scalar_subquery(), tried)
    )
    return list(connection.execute(wanted).scalars())


def _free(now: datetime) -> list[sa.ColumnElement[bool]]:
    lease, rest = webhook.c.lease_until, webhook.c.rest_until
    unleased = sa.or_(lease.is_(None), lease <= now, ~sa.literal_column(ALIVE, sa.Boolean))
    return [unleased, sa.or_(rest.is_(None), rest <= now), webhook.c.gone_at.is_(None)]


def take(
    connection: sa.Connection, id_: int, most: int, *, holder: str, lease: timedelta, now: datetime
) -> WebhookPage | None:
    """Return up to `most` next events for a subscriber; None if it has none, rests, or another process delivers to it.

    A subscriber whose circuit is open gets one event. The lease keeps other processes from delivering until the events are
    sent, or until the process of `holder` dies.
    """
    ours = sa.select(webhook).where(webhook.c.id == id_, *_free(now))
    subscriber = connection.execute(ours.with_for_update(skip_locked=True)).one_or_none()
    if subscriber is None:
        return None
    most = 1 if subscriber.rests else most
    last = connection.scalar(LAST) or 0
    retries = _list_retries(connection, id_, most, now)
    fresh = _list_fresh(connection, subscriber, most - len(retries)) if len(retries) < most else []
    reached = max([subscriber.position, *(each.position for each in fresh)])
    end = last if len(retries) + len(fresh) < most else reached
    blocked_subjects = {each.subject for each in retries} | _list_held(connection, id_, fresh)
    send = [*retries, *(each for each in fresh if each.subject not in blocked_subjects)]
    blocked = [each for each in fresh if each.subject in blocked_subjects]
    send = _add_outputs(connection, send) if subscriber.sends_outputs else send
    if send or blocked:
        change(connection, id_, holder=holder, lease_until=now + lease)
        return WebhookPage(subscriber, send, blocked, end)
    if end > subscriber.position:
        change(connection, id_, position=end)
    return None


def _add_outputs(connection: sa.Connection, send: Sequence[KeptEvent]) -> list[KeptEvent]:
    """Add the current output to each event about an answer; the output is null if it was deleted by age."""
    telling = [each for each in send if each.event.endswith((".answered", ".corrected"))]
    keys = defaultdict[str, list[str]](list)
    for each in telling:
        keys[each.resource].append(each.payload["key"])
    outputs = {
        (of, row.key): {"output": row.output}
        for of, wanted in keys.items()
        for row in connection.execute(
            OUTPUTS, {"workload": of.removeprefix("lanes.workload."), "keys": wanted}
        )
    }

    def find_output(of: KeptEvent) -> Mapping[str, Any]:
        return outputs.get((of.resource, of.payload.get("key")), {})

    return [replace(each, payload={**each.payload, **find_output(each)}) for each in send]


def _match_beyond(position: int, subscriber: Subscriber) -> list[sa.ColumnElement[bool]]:
    """Match the events after a position that a subscriber is subscribed to."""
    of = webhook_event.c
    wanted = [of.position > position, of.event.in_(subscriber.types)]
    if subscriber.workload is not None:
        wanted.append(of.resource == f"lanes.workload.{subscriber.workload}")
    return wanted if subscriber.consumer is None else [*wanted, of.consumer == subscriber.consumer]


def _list_fresh(connection: sa.Connection, to: Subscriber, most: int) -> list[KeptEvent]:
    found = sa.select(webhook_event).where(*_match_beyond(to.position, to))
    first = found.order_by(webhook_event.c.position).limit(most)
    return [_read_event(row) for row in connection.execute(first)]


def _list_retries(connection: sa.Connection, id_: int, most: int, now: datetime) -> list[KeptEvent]:
    """Return up to `most` events that are due for another try, only the first of each subject."""
    earlier, tries = webhook_try.alias("earlier"), webhook_try.c
    blocked = sa.exists().where(
        earlier.c.webhook_id == id_,
        earlier.c.subject == tries.subject,
        earlier.c.position < tries.position,
        earlier.c.next_try_at.is_not(None),
    )
    found = (
        sa.select(webhook_event, tries.attempts)
        .join(webhook_try, tries.position == webhook_event.c.position)
        .where(tries.webhook_id == id_, tries.next_try_at <= now, ~blocked)
        .order_by(tries.next_try_at, tries.position)
        .limit(most)
    )
    return [_read_event(row, row.attempts) for row in connection.execute(found)]


def _list_held(connection: sa.Connection, id_: int, fresh: Sequence[KeptEvent]) -> set[str]:
    """Return the subjects of `fresh` that have an earlier event waiting for another try."""
    if not fresh:
        return set()
    of, subjects = webhook_try.c, [each.subject for each in fresh]
    waits = of.webhook_id == id_, of.next_try_at.is_not(None), of.subject.in_(subjects)
    return set(connection.execute(sa.select(of.subject).where(*waits)).scalars())


def _read_event(row: Any, attempts: int = 0) -> KeptEvent:
    what = row.event, row.resource, row.payload, row.occurred_at
    return KeptEvent(str(row.id), row.position, *what, attempts)


def save(
    connection: sa.Connection,
    page: WebhookPage,
    replies: Mapping[int, WebhookReply],
    *,
    holder: str,
    now: datetime,
) -> bool:
    """Save the replies by position, and update the subscriber and its retries.

    Save nothing and return False if this process has lost its lease, or a person has moved the subscriber's position. An event
    without a reply was not sent, and waits for another try.
    """
    subscriber, failed = page.to, [each for each in replies.values() if each.error is not None]
    taken = len(failed) < len(replies)
    failures = 0 if taken else subscriber.failures + len(failed)
    opens = failed and not taken and (subscriber.rests or failures >= OPENS_AFTER)
    rests = subscriber.rests + 1 if opens else 0 if taken else subscriber.rests
    rest = max([REST.rest_after(rests), *(min(each.retry_after, LONGEST_WISH) for each in failed)])
    values: dict[str, Any] = {"position": page.end, "lease_until": now, "failures": failures}
    values |= {"rests": rests, "rest_until": now + rest if rest else None}
    values |= {"last_error": failed[-1].error} if failed else {}
    values |= {"delivered_at": now, "last_error": None} if taken and not failed else {}
    ours = (webhook.c.id == subscriber.id, webhook.c.holder == holder, webhook.c.lease_until > now)
    unmoved = webhook.c.position == subscriber.position
    saved = sa.update(webhook).where(*ours, unmoved).values(**values).returning(webhook.c.id)
    if connection.execute(saved).scalar() is None:
        return False
    if any(each.gone for each in failed):
        change(connection, subscriber.id, gone_at=now)
        incidents.open(connection, webhook_gone(subscriber.name, subscriber.host), now=now)
    delivered_positions = [position for position, reply in replies.items() if reply.error is None]
    gone = (
        webhook_try.c.webhook_id == subscriber.id,
        webhook_try.c.position.in_(delivered_positions),
    )
    connection.execute(sa.delete(webhook_try).where(*gone))
    waits = [
        _try(subscriber, each, replies.get(each.position), now)
        for each in [*page.send, *page.behind]
    ]
    if rows := [each for each in waits if each["position"] not in delivered_positions]:
        new = insert(webhook_try).values(rows)
        changed = {name: new.excluded[name] for name in ("attempts", "next_try_at", "last_error")}
        connection.execute(
            new.on_conflict_do_update(index_elements=["webhook_id", "position"], set_=changed)
        )
    return True


def _try(
    to: Subscriber, event: KeptEvent, reply: WebhookReply | None, now: datetime
) -> dict[str, Any]:
    attempts = event.attempts + (reply is not None)
    again = None if attempts >= MOST_TRIES else now + AGAIN.rest_after(attempts)
    error = reply.error if reply else None
    key = {"webhook_id": to.id, "position": event.position, "subject": event.subject}
    return {**key, "attempts": attempts, "next_try_at": again, "last_error": error}


def leave(connection: sa.Connection, *, holder: str, now: datetime) -> None:
    """End the leases of this process, so that other processes may deliver."""
    ours = webhook.c.holder == holder, webhook.c.lease_until > now
    connection.execute(sa.update(webhook).where(*ours).values(lease_until=now))


def add(connection: sa.Connection, *, now: datetime, **values: Any) -> None:
    """Add a subscriber; it receives the events that are stamped from now on."""
    first = insert(watermark).values(name=STREAM, seen_until=now, position=0)
    connection.execute(first.on_conflict_do_nothing())
    new = sa.insert(webhook).values(position=LAST.scalar_subquery(), created_at=now, **values)
    connection.execute(new)


def find(connection: sa.Connection, name: str) -> Subscriber | None:
    """Return the subscriber with this name, or None."""
    return connection.execute(sa.select(webhook).where(webhook.c.name == name)).one_or_none()


def list_subscribers(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Return all subscribers by name, each with the last position and its numbers of waiting and given-up events."""
    of = webhook_try.c
    waits = sa.func.count(of.next_try_at).label("waiting")
    given_up = (sa.func.count(of.position) - sa.func.count(of.next_try_at)).label("given_up")
    found = sa.select(webhook, LAST.scalar_subquery().label("last"), waits, given_up)
    of_all = found.outerjoin(webhook_try, of.webhook_id == webhook.c.id).group_by(webhook.c.id)
    return connection.execute(of_all.order_by(webhook.c.name)).all()


def change(connection: sa.Connection, id_: int, **values: Any) -> None:
    """Change columns of a subscriber."""
    connection.execute(sa.update(webhook).where(webhook.c.id == id_).values(**values))


def remove(connection: sa.Connection, to: Subscriber, *, now: datetime) -> None:
    """Remove a subscriber and its waiting events, and resolve its incident."""
    connection.execute(sa.delete(webhook).where(webhook.c.id == to.id))
    _end_incident(connection, to, f"Webhook {to.name} was removed.", now=now)


def reopen(connection: sa.Connection, to: Subscriber, *, now: datetime) -> None:
    """Reset a subscriber that accepts events again: close its circuit, clear `gone_at` (HTTP 410), resolve its incident."""
    change(connection, to.id, failures=0, rests=0, rest_until=None, gone_at=None)
    _end_incident(connection, to, f"Webhook {to.name} takes events again.", now=now)


def _end_incident(
    connection: sa.Connection, to: Subscriber, sentence: str, *, now: datetime
) -> None:
    of = Promise.WEBHOOK_GONE, EVERYBODY, webhook_gone(to.name, to.host).subject
    incidents.resolve(connection, *of, sentence=sentence, now=now)


def replay(
    connection: sa.Connection,
    subscriber: Subscriber,
    *,
    position: int | None = None,
    since: datetime | None = None,
    now: datetime,
) -> int:
    """Send a subscriber all events since a position or moment again, or by default its given-up events; return their number.

    Raises:
        ActionRefused: the position is ahead of the subscriber, which gets those events anyway.
    """
    events, tries = webhook_event.c, webhook_try.c
    ours = tries.webhook_id == subscriber.id
    if position is None and since is None:
        again = sa.update(webhook_try).where(ours, tries.next_try_at.is_(None))
        return connection.execute(again.values(next_try_at=now, attempts=0)).rowcount
    if position is None:
        first = sa.select(sa.func.min(events.position)).where(events.occurred_at >= since)
        if (position := connection.execute(first).scalar()) is None:
            return 0
    if position > subscriber.position + 1:
        raise ActionRefused(
            f'webhook "{subscriber.name}" is at position {subscriber.position}: it gets everything behind it anyway'
        )
    change(connection, subscriber.id, position=position - 1, failures=0, rests=0, rest_until=None)
    connection.execute(sa.delete(webhook_try).where(ours, tries.position >= position))
    ahead = sa.select(sa.func.count(events.id)).where(*_match_beyond(position - 1, subscriber))
    return connection.execute(ahead).scalar_one()


def delete_old(connection: sa.Connection, *, before: datetime) -> int:
    """Delete up to `MOST_STAMPED` events from before a moment, with their tries; return their number, 0 when none is left."""
    of = webhook_event.c
    old = sa.select(of.id).where(of.occurred_at < before).order_by(of.id).limit(MOST_STAMPED)
    gone = sa.delete(webhook_event).where(of.id.in_(old.with_for_update(skip_locked=True)))
    return connection.execute(gone).rowcount
