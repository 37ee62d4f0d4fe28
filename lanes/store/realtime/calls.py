"""Drains are called for by an event: the trigger of `answer` starts one."""

from datetime import datetime

from sqlalchemy import Connection

from lanes.store import outbox
from lanes.store.outbox import EventOut

WAITING = "lanes.work.waiting"
LANE = "lanes.lane.realtime"  # the resource that the event is about


def call_for_drain(connection: Connection, *, now: datetime, **waiting: int) -> None:
    """A drain is called for once this transaction has committed; the event says what is `waiting`, and how much of it."""
    outbox.add(connection, [EventOut(WAITING, LANE, waiting)], now=now)
