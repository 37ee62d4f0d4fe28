"""Events that are sent on a fixed schedule, and when an outside reader saw each answered.

An open loop: an event that is sent late, because the server or its sender was slow, counts from when it was due. No event
waits for the server's word on the one before. One connection asks for all keys together, so that measuring costs little of
what it measures.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, text

from tests.running_stand import RunningStand

SENDERS = 8  # events that the server may be taking at once: at 20 a second it may take 0.4 s for each, and none is late
Fields = Callable[[int], Mapping[str, Any]]  # of the nth event, beside its key and payload
ANSWERED = """
select key from lanes.item where workload = :workload and key = any(:keys) and answered_at is not null
"""


@dataclass(frozen=True)
class Arrival:
    """One event and its answer; moments are seconds of this host's clock."""

    key: str
    fields: Mapping[str, Any]
    due: float
    sent: float
    answered: float

    @property
    def is_urgent(self) -> bool:
        """Whether its sender said so."""
        return bool(self.fields.get("urgent"))

    @property
    def latency_s(self) -> float:
        """From when it was due to be sent until its committed answer was seen."""
        return self.answered - self.due

    @property
    def late_s(self) -> float:
        """How much of that went by before Prefect had it."""
        return self.sent - self.due


@dataclass(frozen=True)
class _Due:
    key: str
    fields: Mapping[str, Any]
    at: float


def a_third_urgent(nth: int) -> Mapping[str, Any]:
    """Every third is urgent; the others are pinned to the real-time lane, so that each has an answer to wait for."""
    return {"urgent": True} if nth % 3 == 0 else {"lane": "realtime"}


def arrive(
    stand: RunningStand,
    workload: str,
    number: int,
    *,
    per_s: float,
    fields: Fields = a_third_urgent,
    poll_s: float = 0.01,
    within_s: float = 120,
    said: Callable[[int, int], None] | None = None,
) -> list[Arrival]:
    """Send events, `per_s` a second however quickly earlier ones are answered, until each was seen answered.

    `said` hears every 5 s how many were answered, of how many.

    Raises:
        AssertionError: some had no answer `within_s` seconds after the last was due.
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
    """When the answer of each was seen."""
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
