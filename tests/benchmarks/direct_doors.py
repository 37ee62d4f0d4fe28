"""The doors that need no Prefect: from a commit, in SQL or by the Python client, to a committed answer that others can see."""

import time
from collections.abc import Callable
from uuid import uuid4

from sqlalchemy import Connection, text

from lanes.client import Lanes
from tests.running_stand import RunningStand

POLL_S = 0.001
SUBMIT = "select lanes.submit('tickets', :payload, :key, urgent => true)"
ANSWERED = (
    "select 1 from lanes.item where workload = 'tickets' and key = :key and answered_at is not null"
)
WITHIN_S = 60.0
Send = Callable[[str], None]


def by_sql(stand: RunningStand, number: int) -> dict[str, float]:
    """Return the seconds of each item by its key, one after the other; the drain is warm."""

    def send(key: str) -> None:
        with stand.pool.begin() as connection:
            said = connection.execute(
                text(SUBMIT), {"payload": f'{{"text": "Letter {key}"}}', "key": key}
            ).scalar_one()
        assert said == "accepted", said

    return _answered(stand, send, number)


def by_client(stand: RunningStand, number: int) -> dict[str, float]:
    """Return the same as `by_sql`, through the Python client."""
    with Lanes(stand.environment["LANES_DATABASE_URL"]) as lanes:

        def send(key: str) -> None:
            lanes.submit(
                "tickets", {"text": f"Letter {key}"}, key=key, urgent=True
            ).raise_for_refusal()

        return _answered(stand, send, number)


def _answered(stand: RunningStand, send: Send, number: int) -> dict[str, float]:
    with stand.pool.connect() as opened:
        watcher = opened.execution_options(isolation_level="AUTOCOMMIT")
        keys = [f"door-{uuid4().hex[:12]}" for _ in range(number)]
        return {key: _one(watcher, send, key) for key in keys}


def _one(watcher: Connection, send: Send, key: str) -> float:
    began = time.perf_counter()
    send(key)
    while watcher.execute(text(ANSWERED), {"key": key}).first() is None:
        assert time.perf_counter() - began < WITHIN_S, f"{key} has no answer"
        time.sleep(POLL_S)
    return time.perf_counter() - began
