"""A run of `depart`: every kind of batch work is tried; what could not leave is reported and asked for again."""

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
from tasks.send_batch import BatchSize, Blocked, TooLarge, send_batch

# when a used-up budget is looked at again, as other batches may have given back; a context that could not be read, and a
# provider block that could not be loaded
MONEY_AGAIN = timedelta(minutes=5)
WAITING = "Waiting"  # name of the state of a run that another batch of its account stopped

Sleep = Callable[[float], Awaitable[None]]


class NotSubmitted(LanesError):
    """Some waiting work could not be sent; the text names each workload and why."""


@dataclass
class Departed:
    """The number of items that left, and a sentence for each kind that did not.

    It was refused or failed, or waits for another batch or for money.
    """

    items: int = 0
    failed: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    def ending(self) -> int | State[int]:
        """Return what the run ends with.

        Raises:
            NotSubmitted: something failed.
        """
        if self.failed:
            raise NotSubmitted("; ".join(self.failed + self.waiting))
        if self.waiting:
            return State(type=StateType.COMPLETED, name=WAITING, message="; ".join(self.waiting))
        return self.items


async def check_in(at: Connections, workload: str | None) -> None:
    """Note that a run for this workload, or for all, has begun: promise `batch_never_started` looks for it."""
    await at.db.run(ready_work.check_in, workload, now=await at.db.now())


async def send_waiting(
    at: Connections,
    workload: str | None,
    *,
    sleep: Sleep = asyncio.sleep,
    stop: asyncio.Event | None = None,
) -> Departed:
    """Try every kind of waiting work; what could not leave stays ready, and the next run for it is asked for.

    Once `stop` is set, the batch that is being created is recorded, and no other is created.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    if workload is not None:
        await at.db.run(workloads.check_known, workload)
    departed, patience, sent = Departed(), Patience(), Counter[str]()
    again, unread = dict[str, datetime](), dict[str, str]()
    kinds = await at.db.run(ready_work.waiting_kinds, workload, now=await at.db.now())
    stop = stop or asyncio.Event()
    for kind in kinds:
        wanted: datetime | None = None
        before = departed.items
        try:
            await _all_of(at, kind, departed, patience, sleep, stop)
        except Blocked as reason:
            departed.waiting.append(f"{kind.workload}: {reason}")
            wanted = reason.until
        except BudgetUsedUp as reason:
            departed.waiting.append(f"{kind.workload}: {reason}")
            now = await at.db.now()
            await at.db.run(budgets.note_refused, reason.budgets, now=now)
            wanted = now + MONEY_AGAIN
        except ReferenceFailed as reason:
            departed.waiting.append(f"{kind.workload}: {reason}")
            unread[kind.workload] = str(reason)
            wanted = await at.db.now() + MONEY_AGAIN
        except SetupError as reason:
            departed.failed.append(f"{kind.workload}: {reason}")
            wanted = await at.db.now() + MONEY_AGAIN
        except CallFailed as failure:
            departed.failed.append(f"{kind.workload}: {failure}")
            wanted = next_try(
                failure.as_create,
                retry_after_s=failure.retry_after_s,
                listing_grace_s=at.provider.listing_grace_s,
                chance=random.random(),
                now=await at.db.now(),
            )
        except Exception as error:  # whatever it is, the other kinds leave
            get_run_logger().exception("%s could not be submitted", kind.workload)
            departed.failed.append(f"{kind.workload}: {type(error).__name__}: {error}")
        sent[kind.workload] += departed.items - before
        if wanted is not None:
            again[kind.workload] = min(wanted, again.get(kind.workload, wanted))
    await _tell_unread(at, workload, unread)
    for sentence in departed.failed + departed.waiting:
        get_run_logger().warning("not submitted: %s", sentence)
    await at.db.run(ready_work.put_off, again, of=workload, sent=sent)
    return departed


async def _tell_unread(at: Connections, workload: str | None, unread: Mapping[str, str]) -> None:
    """Report workloads whose context cannot be read, and end the reports of those that were tried and can."""
    async with at.db.transaction() as run:
        for name, why in unread.items():
            await run(incidents.open, unreadable_context(name, why), now=run.now)
        stands = await run(incidents.list_newest, states=[IncidentState.OPEN])
        for each in stands:
            tried = workload in (None, each.workload) and each.workload not in unread
            if tried and (each.promise, each.subject) == (Promise.BATCH_NEVER_STARTED, CONTEXT):
                of = each.promise, each.workload, each.subject
                said = f'The context of workload "{each.workload}" can be read again.'
                await run(incidents.resolve, *of, sentence=said, now=run.now)


async def _all_of(
    at: Connections,
    kind: BatchKind,
    departed: Departed,
    patience: Patience,
    sleep: Sleep,
    stop: asyncio.Event,
) -> None:
    """Send as many batches as it takes. One that is too large is halved, and a busy provider is waited for.

    Raises:
        Blocked: the run was asked to stop.
    """
    most = BatchSize()
    while True:
        if stop.is_set():
            raise Blocked("the run was asked to stop", await at.db.now())
        try:
            items = await send_batch(at, kind, most=most)
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
        patience.record_answer()
        departed.items += items
        if not items:
            return
