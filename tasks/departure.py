"""A run of `depart`: it tries every kind of batch work, reports the kinds that could not be sent, and plans the next run."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prefect.client.schemas.objects import State, StateType
from prefect.logging import get_run_logger

from lanes.batch.batch import BatchKind
from lanes.batch.departure import NotCreated, Patience, next_try
from lanes.errors import LanesError, SetupError
from lanes.promises.breaches import CONTEXT, unreadable_context
from lanes.promises.incident import IncidentState, Promise
from lanes.provider.errors import CallFailed
from lanes.store import incidents
from lanes.store.batch import ready_work
from lanes.store.doors.full_data import ReferenceFailed
from lanes.store.money import budgets
from lanes.store.money.budgets import BudgetUsedUp
from lanes.store.workload import workloads
from tasks.connections import Connections
from tasks.runs import plain_task
from tasks.send_batch import BatchSize, Blocked, TooLarge, send_batch

# time until the next try after a used-up budget, since other batches may release money, after a context that could not be
# read, and after a provider block that could not be loaded
MONEY_AGAIN = timedelta(minutes=5)
WAITING = "Waiting"  # final state of a run with work that must wait, for a batch of its account, money or a context

Sleep = Callable[[float], Awaitable[None]]


class NotSubmitted(LanesError):
    """Some waiting work could not be sent; the text gives the reason for each workload."""


@dataclass
class Departed:
    """The number of items that were sent, and a sentence for each kind of work that was not.

    Such a kind failed or was refused (`failed`), or waits for another batch, money or a context (`waiting`).
    """

    items: int = 0
    failed: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    def ending(self) -> int | State[int]:
        """Return the result of the run: the number of items, or state `Waiting`.

        Raises:
            NotSubmitted: some work failed.
        """
        if self.failed:
            raise NotSubmitted("; ".join(self.failed + self.waiting))
        if self.waiting:
            return State(type=StateType.COMPLETED, name=WAITING, message="; ".join(self.waiting))
        return self.items


async def check_in(at: Connections, workload: str | None) -> None:
    """Record that a run for this workload, or for all, has begun; promise `batch_never_started` checks this."""
    await at.db.run(ready_work.check_in, workload, now=await at.db.now())


async def send_waiting(
    at: Connections,
    workload: str | None,
    *,
    sleep: Sleep = asyncio.sleep,
    stop: asyncio.Event | None = None,
) -> Departed:
    """Try to send every kind of waiting work; unsent work stays ready, and the time of its next run is recorded.

    Once `stop` is set, finish and record the batch that is being created, and create no others.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    if workload is not None:
        await at.db.run(workloads.check_known, workload)
    departed, patience, sent = Departed(), Patience(), Counter[str]()
    retries, unread = dict[str, datetime](), dict[str, str]()
    kinds = await at.db.run(ready_work.list_waiting_kinds, workload, now=await at.db.now())
    stop = stop or asyncio.Event()
    for kind in kinds:
        retry_at: datetime | None = None
        count_before = departed.items
        try:
            await _send_all(at, kind, departed, patience, sleep, stop)
        except Blocked as reason:
            departed.waiting.append(f"{kind.workload}: {reason}")
            retry_at = reason.until
        except BudgetUsedUp as reason:
            departed.waiting.append(f"{kind.workload}: {reason}")
            now = await at.db.now()
            await at.db.run(budgets.note_refused, reason.budgets, now=now)
            retry_at = now + MONEY_AGAIN
        except ReferenceFailed as reason:
            departed.waiting.append(f"{kind.workload}: {reason}")
            unread[kind.workload] = str(reason)
            retry_at = await at.db.now() + MONEY_AGAIN
        except SetupError as reason:
            departed.failed.append(f"{kind.workload}: {reason}")
            retry_at = await at.db.now() + MONEY_AGAIN
        except CallFailed as failure:
            departed.failed.append(f"{kind.workload}: {failure}")
            retry_at = next_try(
                failure.as_create,
                retry_after_s=failure.retry_after_s,
                listing_grace_s=at.provider.listing_grace_s,
                chance=random.random(),
                now=await at.db.now(),
            )
        except Exception as error:  # continue with the other kinds after any error
            get_run_logger().exception("%s could not be submitted", kind.workload)
            departed.failed.append(f"{kind.workload}: {type(error).__name__}: {error}")
        sent[kind.workload] += departed.items - count_before
        if retry_at is not None:
            retries[kind.workload] = min(retry_at, retries.get(kind.workload, retry_at))
    await _tell_unread(at, workload, unread)
    for sentence in departed.failed + departed.waiting:
        get_run_logger().warning("not submitted: %s", sentence)
    await at.db.run(ready_work.put_off, retries, of=workload, sent=sent)
    return departed


async def _tell_unread(at: Connections, workload: str | None, unread: Mapping[str, str]) -> None:
    """Open incidents for workloads whose context cannot be read, and resolve those of workloads whose context was read."""
    async with at.db.transaction() as run:
        for name, why in unread.items():
            await run(incidents.open, unreadable_context(name, why), now=run.now)
        stands = await run(incidents.list_newest, states=[IncidentState.OPEN])
        for incident in stands:
            was_tried = workload in (None, incident.workload) and incident.workload not in unread
            if was_tried and (incident.promise, incident.subject) == (
                Promise.BATCH_NEVER_STARTED,
                CONTEXT,
            ):
                key = incident.promise, incident.workload, incident.subject
                message = f'The context of workload "{incident.workload}" can be read again.'
                await run(incidents.resolve, *key, sentence=message, now=run.now)


@plain_task("submit batch")
async def try_batch(
    at: Connections, kind: BatchKind, *, most: BatchSize
) -> int | Blocked | BudgetUsedUp | ReferenceFailed:
    """Send one batch and return its number of items, or return the reason why it has to wait.

    An exception would mark the task run as failed, with a traceback in the log, although nothing is wrong with the run.
    """
    try:
        return await send_batch(at, kind, most=most)
    except (Blocked, BudgetUsedUp, ReferenceFailed) as reason:
        return reason


async def _send_all(
    at: Connections,
    kind: BatchKind,
    departed: Departed,
    patience: Patience,
    sleep: Sleep,
    stop: asyncio.Event,
) -> None:
    """Send batches until no work of this kind waits; halve a batch that is too large, and wait while the provider is busy.

    Raises:
        Blocked: the run was asked to stop, or another batch of the account must be resolved first.
        BudgetUsedUp: the rest of a budget is smaller than the batch's possible cost.
        ReferenceFailed: reference rows cannot be read.
        CallFailed: the provider refused the batch, or did not respond.
        SetupError: the provider block of the workload cannot be loaded.
    """
    most = BatchSize()
    while True:
        if stop.is_set():
            raise Blocked("the run was asked to stop", await at.db.now())
        try:
            sent = await try_batch(at, kind, most=most)
        except TooLarge as refused:
            most = BatchSize(items=refused.items // 2)
            continue
        except CallFailed as failure:
            if failure.as_create is not NotCreated.FOR_NOW:
                raise
            pause = patience.pause(retry_after_s=failure.retry_after_s, chance=random.random())
            if pause is None or stop.is_set():
                raise
            get_run_logger().info("%s is tried again in %.1f s: %s", kind.workload, pause, failure)
            await sleep(pause)
            continue
        if not isinstance(sent, int):
            raise sent
        patience.record_answer()
        departed.items += sent
        if not sent:
            return
