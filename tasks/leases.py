"""Renews the leases of a drain's claims beside its loop: on a thread and a database session of its own.

A busy loop delays no renewal, and a session that is lost is replaced without losing a claim: the lease alone tells others that
its holder lives. A loop that stands still for a minute does not, and its claims are renewed no more.
"""

import threading
import time
from collections.abc import Iterable, Mapping

from lanes.ids import WorkId
from lanes.packing import Claim
from lanes.realtime.calltime import LEASE, RENEW_EVERY, RENEWED_WITHIN_S
from lanes.store import work
from lanes.store.database import Database, engine

EVERY_S = RENEW_EVERY.total_seconds()
LOOP_S = 60.0  # without a sign of life from the loop; no call takes it, and no save
AGAIN_S = 1.0  # after a renewal that failed
CLOSING_S = 2.0  # how long a renewal under way is waited for


class Leases:
    """The leases of `held`, the claims of one drain. Moments are seconds of the host's steady clock."""

    def __init__(
        self, db: Database, held: Mapping[WorkId, Claim], *, every_s: float = EVERY_S
    ) -> None:
        self._db, self._held, self._every_s, self.loop_s = db, held, every_s, LOOP_S
        # when the statement began that claimed or renewed it last
        self._renewed_at: dict[Claim, float] = {}
        self._engine = engine(db.url, most=2)
        self._alive_at = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._thread.start()

    def claimed(self, claims: Iterable[Claim], *, at: float) -> None:
        """Note what was claimed by a statement that began then."""
        self._renewed_at |= dict.fromkeys(claims, at)

    def last(self, claims: Iterable[Claim]) -> bool:
        """Return whether all of these claims were renewed lately enough for a call to begin."""
        oldest = time.monotonic() - RENEWED_WITHIN_S
        return all(self._renewed_at.get(each, oldest) > oldest for each in claims)

    async def live(self) -> None:
        """Note that the loop of the drain runs."""
        self._alive_at = time.monotonic()

    def close(self) -> None:
        """Renew nothing any more."""
        self._closed.set()
        self._thread.join(CLOSING_S)

    def renew(self) -> None:
        """Extend the leases of everything that is held, by one statement on a session of this thread.

        Raises:
            DBAPIError: the database was away; the claims last for what is left of their leases.
        """
        held, began = list(self._held.values()), time.monotonic()
        if began - self._alive_at > self.loop_s:
            return
        with self._engine.begin() as connection:
            ours = work.renew(connection, held, lease=LEASE, now=self._db.clock(connection))
        self._renewed_at |= {each: began for each in held if each.work_id in ours}
        for each in [each for each in list(self._renewed_at) if self._is_over(each)]:
            self._renewed_at.pop(each, None)

    def _is_over(self, claim: Claim) -> bool:
        """Return whether a claim is held no more; one that was just made may not be among the held ones yet."""
        return (
            self._held.get(claim.work_id) != claim
            and time.monotonic() - self._renewed_at[claim] > RENEWED_WITHIN_S
        )

    def _run(self) -> None:
        pause = self._every_s
        while not self._closed.wait(pause):
            try:
                self.renew()
                pause = self._every_s
            # whatever it was: it is tried again, and calls begin no more until it went well
            except Exception:
                pause = min(AGAIN_S, self._every_s)
        self._engine.dispose()
