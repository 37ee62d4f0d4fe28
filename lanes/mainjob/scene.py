"""What goes on beside the ready-made items while they are worked off: consumers read, and customers add to what they wrote."""

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Engine, text

from lanes.mainjob import earlier
from lanes.mainjob.samples_sender import AMENDED, Sample, send
from lanes.settling.listing import NoResult, ResultRequest
from lanes.stand.prefect_api import PrefectApi
from lanes.store.database import clock
from lanes.store.settling import results
from lanes.store.signals import Role, holder_exists

AT_ONCE = frozenset(
    {"support-desk", "page", "appeals"}
)  # consumers that read an answer as soon as it is there
SENT_AGAIN_AFTER_S = 10.0  # an amendment that was not applied by then
GIVEN_UP_AFTER_S = (
    45.0  # nobody waits longer for late data: whoever lost an event finds it in the report
)
ENTERED_WITHIN_S = (
    30.0  # `collect`, which takes late items to real time, begins within seconds of a start
)

LATE = text("""
select workload, key, answered_at is not null as answered, revision > 0 as amended from lanes.item
 where workload = any(:workloads) and key = any(:keys)
""")


class Scene:
    """The answers to `sent` are read by who waits for them, and `late` reaches items that real time has answered: the batch,
    which sees it, corrects them. `before`, of one workload, enter as if they had come minutes ago, once somebody is there who
    takes what its batch would answer too late to real time."""

    def __init__(
        self,
        pool: Engine,
        api: PrefectApi,
        sent: Sequence[Sample],
        late: Sequence[Sample],
        before: Sequence[Sample] = (),
        *,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._api, self._elapsed, self._began = pool, api, elapsed, elapsed()
        self._unread = _read_at_once(sent)
        self._late = {(each.workload, each.key): each for each in late}
        self._before, self._entered = [*before], set[tuple[str, str]]()
        self._told: float | None = None

    def look(self) -> list[Sample]:
        """Read new answers, amend answered items, admit earlier items, and return their keys."""
        entered = self._enter() if self.expects_more else []
        if not self._unread and not self._late:
            return entered
        with self._pool.begin() as connection:
            self._read(connection)
            now, ready = clock(connection), self._ready(connection)
        if ready and self._may_tell():
            list(send(self._api, ready, now=now, event=AMENDED))
            self._told = self._elapsed()
        return entered

    @property
    def expects_more(self) -> bool:
        """Whether items are still to enter as if they had come before."""
        return bool(self._before) and self._elapsed() - self._began < ENTERED_WITHIN_S

    def holds_back(self, workload: str) -> bool:
        """Return whether its batch should wait, to see late data and to be late for the earlier items."""
        early = [each.workload for each in self._before if self.expects_more]
        awaited = {of for of, _ in (*self._late, *self._entered)}.union(early)
        return workload in awaited and self._elapsed() - self._began < GIVEN_UP_AFTER_S

    def _enter(self) -> list[Sample]:
        """Admit the earlier items and return their keys; none while no run rescues late items, or another router is at work."""
        with self._pool.begin() as connection:
            if not holder_exists(connection, Role.COLLECTOR):
                return []
            keys = earlier.entered(
                connection, self._before[0].workload, self._before, now=clock(connection)
            )
        if keys is None:
            return []
        entered = [each for each in self._before if each.key in keys]
        self._before, self._entered = [], {(each.workload, each.key) for each in entered}
        self._unread |= _read_at_once(entered)
        return entered

    def _read(self, connection: Connection) -> None:
        sought = [*self._unread.values()]
        for asked, found in zip(
            sought, results.take(connection, sought) if sought else (), strict=True
        ):
            if found is not NoResult.NOT_YET:
                del self._unread[asked.workload, asked.key]
                self._entered.discard((asked.workload, asked.key))

    def _ready(self, connection: Connection) -> list[Sample]:
        """Return the amendments whose items are all answered, so that none is late."""
        if not self._late:
            return []
        asked = {"workloads": [of for of, _ in self._late], "keys": [key for _, key in self._late]}
        found = {(row.workload, row.key): row for row in connection.execute(LATE, asked)}
        self._late = {
            of: each for of, each in self._late.items() if of not in found or not found[of].amended
        }
        answered = all(of in found and found[of].answered for of in self._late)
        return [*self._late.values()] if answered else []

    def _may_tell(self) -> bool:
        return self._told is None or self._elapsed() - self._told >= SENT_AGAIN_AFTER_S


def _read_at_once(sent: Sequence[Sample]) -> dict[tuple[str, str], ResultRequest]:
    return {
        (each.workload, each.key): ResultRequest(each.workload, each.key, reader)
        for each in sent
        if (reader := each.fields.get("consumer")) in AT_ONCE
    }
