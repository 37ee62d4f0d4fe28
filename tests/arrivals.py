"""Events that are sent on a fixed schedule, and the times at which an outside reader saw their answers.

This is an open loop: the latency of an event counts from its due time, even if the server or the sender delayed it. No event
waits for the server's response to the previous one. One connection polls for all keys together, so that measuring costs little
of the time that it measures.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, text

from tests.running_stand import RunningStand

# Events in flight to the server: at 20 a second each may take 0.4 s without delaying another.
SENDERS = 8
Fields = Callable[[int], Mapping[str, Any]]  # fields of the nth event, besides its key and payload
ANSWERED = """
select key from lanes.item where workload = :workload and key = any(:keys) and answered_at is not null
"""


@dataclass(frozen=True)
class Arrival:
    """An event and its answer; times are seconds of this host's clock."""

    key: str
    fields: Mapping[str, Any]
    due: float
    sent: float
    answered: float

    @property
    def is_urgent(self) -> bool:
        """Whether the sender marked the event as urgent."""
        return bool(self.fields.get("urgent"))

    @property
    def latency_s(self) -> float:
        """The seconds from the event's due time until its committed answer was seen."""
        return self.answered - self.due

    @property
    def late_s(self) -> float:
        """The part of the latency before Prefect had accepted the event."""
        return self.sent - self.due


@dataclass(frozen=True)
class _Due:
    key: str
    fields: Mapping[str, Any]
    at: float


def a_third_urgent(nth: int) -> Mapping[str, Any]:
    """Return fields that make every third event urgent.

    The others are pinned to the real-time lane, so that every event gets an answer to wait for.
    """
    return {"urgent": True} if nth % 3 == 0 else {"lane": "realtime"}


def arrive(
    stand: RunningStand,
    workload: str,
    number: int,
    *,
    per_s: float,
    fields: Fields = a_third_urgent,
    poll_s: float = 0.01,
    within_s: float = 300,
    said: Callable[[int, int], None] | None = None,
) -> list[Arrival]:
    """Send events, `per_s` a second regardless of earlier answers, and return them once all answers were seen.

    `said` is called every 5 s with the number of answered events and the number of all events.

    Raises:
        AssertionError: an event had no answer `within_s` seconds after the last event was due.
    """
    word, began = uuid4().hex[:8], time.perf_counter()
    due = [_Due(f"{word}-{nth:05d}", fields(nth), began + nth / per_s) for nth in range(number)]
    sent: dict[str, float] = {}
    with ThreadPoolExecutor(1) as timer, stand.pool.connect() as opened:
        watcher = opened.execution_options(isolation_level="AUTOCOMMIT")
        sending = timer.submit(_send_all, stand, workload, due, sent)
        answered = _watch(
            watcher, workload, due, sent, poll_s=poll_s, until=due[-1].at + within_s, said=said
        )
        sending.result()
    return [
        Arrival(each.key, each.fields, each.at, sent[each.key], answered[each.key]) for each in due
    ]


def _send_all(
    stand: RunningStand, workload: str, due: Sequence[_Due], sent: dict[str, float]
) -> None:
    with ThreadPoolExecutor(SENDERS) as senders:
        sending: list[Future[None]] = []
        for each in due:
            time.sleep(max(0, each.at - time.perf_counter()))
            sending.append(senders.submit(_send, stand, workload, each, sent))
        for each in sending:
            each.result()


def _send(stand: RunningStand, workload: str, each: _Due, sent: dict[str, float]) -> None:
    stand.emit(
        workload, {"key": each.key, "payload": {"text": f"Letter {each.key}"}, **each.fields}
    )
    sent[each.key] = time.perf_counter()


def _watch(
    watcher: Connection,
    workload: str,
    due: Sequence[_Due],
    sent: Mapping[str, float],
    *,
    poll_s: float,
    until: float,
    said: Callable[[int, int], None] | None,
) -> dict[str, float]:
    """Return the time at which each event's answer was seen, by key."""
    answered: dict[str, float] = {}
    say_at = due[0].at
    while len(answered) < len(due):
        now = time.perf_counter()
        waiting = [each.key for each in due if each.at <= now and each.key not in answered]
        if waiting:
            found = (
                watcher.execute(text(ANSWERED), {"workload": workload, "keys": waiting})
                .scalars()
                .all()
            )
            answered |= dict.fromkeys(found, time.perf_counter())
        if said is not None and now >= say_at:
            said(len(answered), len(due))
            say_at += 5
        assert now < until, (
            f"{len(waiting)} of {len(due)} events have no answer ({len(sent)} were sent): {waiting[:3]}"
        )
        time.sleep(poll_s)
    return answered
