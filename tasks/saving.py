"""Saving attempts, for all tasks: a save survives a lost connection, and retries attempts whose rows are locked.

Saving is idempotent, so a save with an unknown outcome is repeated.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from prefect.logging import get_run_logger
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.backoff import Backoff
from lanes.ids import BatchId
from lanes.packing import Claim
from lanes.settling.attempts import drop_answer
from lanes.settling.outcome import Attempt, SaveResult, drop_repeats
from lanes.store import work
from lanes.store.database import Database
from lanes.store.engines import is_refusal
from lanes.store.settling import outcomes, traces
from lanes.text import log_ids
from tasks import tracing

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[object]]

TRIES = 8  # about 15 s with the pauses, longer than a restart of the database
BACKOFF = Backoff.from_seconds(0.2, 5.0)  # between two tries
ROUNDS = 3  # retries of rows that other transactions hold
PATIENCE = timedelta(seconds=1)  # how long a round waits for one such row


async def save(
    db: Database,
    attempts: Sequence[Attempt],
    *,
    batch_id: BatchId | None = None,
    flow_run_id: UUID | None = None,
    now: datetime | None = None,
    patience: timedelta = PATIENCE,
    sleep: Sleep = asyncio.sleep,
) -> SaveResult:
    """Save the consequences of attempts; the result lists those that stayed locked (`passed_over`) and those `refused`.

    Attempts on unlocked rows are committed first, before any wait for a lock. Each wait lasts up to `patience`. `now` defaults
    to the database's time; `flow_run_id` is the run that made the attempts. If the database refuses a save because of its
    content, the attempts are halved until the faulty one is alone, and it is saved without its answer. Shares of a bill are
    computed before the halving, so that the parts add up.
    """

    async def once(some: Sequence[Attempt], wait: timedelta | None) -> SaveResult:
        async with db.transaction() as run:
            at = now or run.now
            return await run(
                outcomes.save, some, batch_id=batch_id, flow_run_id=flow_run_id, now=at, wait=wait
            )

    async def save_or_split(some: Sequence[Attempt], wait: timedelta | None = None) -> SaveResult:
        if not some:
            return SaveResult()
        try:
            return await retry_transient(lambda: once(some, wait), sleep=sleep)
        except Exception as error:
            if isinstance(error, DBAPIError | NoConnectionFree) and is_transient(error):
                raise
            if len(some) > 1:
                middle = len(some) // 2
                return await save_or_split(some[:middle], wait) + await save_or_split(
                    some[middle:], wait
                )
            return await settle_unsavable(some[0], error, wait)

    async def settle_unsavable(
        refused: Attempt, why: Exception, wait: timedelta | None
    ) -> SaveResult:
        template = "the attempt of work %d cannot be saved"
        work_id = refused.claim.work_id
        ids = await retry_transient(lambda: db.look(traces.read_log_ids, work_id), sleep=sleep)
        with log_ids(**ids):
            get_run_logger().error(template, work_id, exc_info=why)
        without = drop_answer(refused, type(why).__name__)
        return (
            SaveResult(refused=[refused])
            if without == refused
            else await save_or_split([without], wait)
        )

    result = await save_or_split(drop_repeats(attempts))
    for _ in range(ROUNDS):
        if not result.passed_over:
            break
        first, *rest = result.passed_over
        alone = await save_or_split([first], patience)
        # Attempts that are passed over again move to the end, so that the next round waits for a different one.
        result = replace(result, passed_over=[]) + await save_or_split(rest) + alone
    if result.apart:
        message = "the provider gave %d answers ids that other answers have: they are booked under new ids, %s"
        get_run_logger().error(message, len(result.apart), ", ".join(sorted(result.apart)[:3]))
    if result.archived:
        message = (
            "%d attempts were for archived items: their cost is booked, their answers are not used"
        )
        get_run_logger().warning(message, result.archived)
    if result.passed_over:
        message = "%d attempts wait, because open transactions have locked their items"
        get_run_logger().warning(message, len(result.passed_over))
    tracing.note(result.recorded)
    return result


async def give_back(
    db: Database, claims: Sequence[Claim], *, ready_at: datetime, sleep: Sleep = asyncio.sleep
) -> list[Claim]:
    """Make the work that we still hold ready again; return the claims whose rows stayed locked."""
    left = await retry_transient(
        lambda: db.run(work.give_back, claims, ready_at=ready_at), sleep=sleep
    )
    for _ in range(ROUNDS):
        if not left:
            break
        await sleep(PATIENCE.total_seconds())
        left = await retry_transient(
            lambda left=left: db.run(work.give_back, left, ready_at=ready_at), sleep=sleep
        )
    return left


async def end_lost_claims(db: Database, now: datetime) -> None:
    """Record an attempt without an answer for each claim whose lease has expired; its work becomes ready again.

    `collect` and the router's drain call it every five seconds.
    """
    await save(db, await db.run(work.list_abandoned, now=now))


async def retry_transient(act: Callable[[], Awaitable[T]], *, sleep: Sleep = asyncio.sleep) -> T:
    """Return what `act` returns; repeat it a bounded number of times after transient errors.

    Raises:
        DBAPIError: the last try failed too, or the error is not transient.
        sqlalchemy.exc.TimeoutError: the last try found no free connection.
    """
    for no in range(1, TRIES):
        try:
            return await act()
        except (DBAPIError, NoConnectionFree) as error:
            if not is_transient(error):
                raise
            reason = error.args[0] if error.args else error
            get_run_logger().warning("try %d of %d: %s", no, TRIES, reason)
            await sleep(BACKOFF.seconds_after(no, draw=random.random()))
    return await act()


def is_transient(error: DBAPIError | NoConnectionFree) -> bool:
    """Return whether an error is transient: a lost connection, an unavailable or full server, a deadlock."""
    if is_refusal(error):
        return False
    if isinstance(error, NoConnectionFree | OperationalError):
        return True
    return error.connection_invalidated
