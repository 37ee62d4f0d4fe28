"""Ways in which item `k` of the client's tests ends, and a record of the looks for waiting readers."""

import threading
from collections.abc import Sequence
from datetime import datetime

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.settling.listing import NoResult, ResultRequest
from lanes.store.database import clock
from lanes.store.doors import items
from lanes.store.settling import results
from lanes.store.settling.results import Result
from lanes.words import Outcome
from tests.conftest import NOON
from tests.examples import route
from tests.store.tries import claim, save, tried

WITHIN_S = 30


def answer(pool: Engine, *, now: datetime | None = NOON) -> None:
    """Answer everything that waits for real time, at `now` or (None) at the time of the database's clock."""
    with pool.begin() as connection:
        at = now or clock(connection)
        route(connection, now=at)
        save(connection, *(tried(work, at=at) for work in claim(connection, now=at)), now=at)


def fails(pool: Engine) -> None:
    """Fail everything that waits for real time."""
    with pool.begin() as connection:
        route(connection, now=NOON)
        save(connection, *(tried(work, Outcome.POISON) for work in claim(connection)))


def is_canceled(pool: Engine) -> None:
    """Cancel the item."""
    with pool.begin() as connection:
        items.cancel(connection, "letters", "k")


def is_answered_early_and_canceled(pool: Engine) -> None:
    """Answer the item provisionally, then cancel it, so that the answer never settles."""
    answer(pool)
    is_canceled(pool)


def is_canceled_unheard(pool: Engine) -> None:
    """Cancel the item without a notification, as if the notification were lost."""
    with pool.begin() as connection:
        connection.execute(text("update lanes.item set canceled_at = received_at"))


class Looks:
    """The looks for waiting readers, with the number of readers of each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self._keys: set[str] = set()
        self._changed = threading.Condition()
        self._take = results.take
        monkeypatch.setattr(results, "take", self._look)

    def _look(
        self, connection: Connection, sought: Sequence[ResultRequest]
    ) -> list[Result | NoResult]:
        found = self._take(connection, sought)
        with self._changed:
            self.sizes.append(len(sought))
            self._keys |= {each.reader for each in sought}
            self._changed.notify_all()
        return found

    def until_all(self, *readers: str) -> None:
        """Wait until there was a look for each of these readers."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._keys >= set(readers), WITHIN_S)
