"""Waiting for results in a program that uses the client.

One thread per process serves all callers that wait on one address. It uses two connections, which close a moment after the
last caller has left: one receives NOTIFY, the other polls for all callers in one query. The channel is busy under load and its
notifications carry no key, so notifications that closely follow a poll share the next poll. A lost notification, an end
without a notification, or an unnoticed connection loss delays an answer by `RELOOK_S` at most. A follower of a workload's
answers polls on a connection of its own handle, and this thread wakes it.
"""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from psycopg import Error as DriverError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from lanes.client.places import translate
from lanes.client.verbs import explain_no_result
from lanes.errors import DatabaseAway, LanesError
from lanes.settling.listing import NoResult, ResultRequest
from lanes.store.engines import discreet_async_engine
from lanes.store.settling import results
from lanes.store.settling.results import Result
from lanes.store.signals import listening


@dataclass(eq=False)
class Waiter:
    """A caller that waits for one result. `final`: the next poll ends the wait, even without a result."""

    asked: ResultRequest
    final: bool
    found: Future[Result | None] = field(default_factory=Future)

    def tell(self, outcome: Result | NoResult) -> None:
        """End the wait if a poll found a result, found that there never will be one, or is the final one."""
        if isinstance(outcome, Result):
            self._end(outcome)
        elif (why := explain_no_result(self.asked, outcome)) is not None:
            self.fail(why)
        elif self.final:
            self._end(None)

    def fail(self, why: BaseException) -> None:
        """End the wait with an exception."""
        with suppress(InvalidStateError):  # the waiter already has an answer, or has left
            self.found.set_exception(why)

    def _end(self, result: Result | None) -> None:
        with suppress(InvalidStateError):
            self.found.set_result(result)


AT_ONCE = 1_000  # waiters in one query


class Looker:
    """The connection that polls, one poll at a time."""

    def __init__(self, pool: AsyncEngine) -> None:
        self._pool = pool
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Open a looker, which connects when it is first used."""
        pool = discreet_async_engine(
            url, pool_size=1, max_overflow=0, pool_pre_ping=True, isolation_level="READ COMMITTED"
        )
        try:
            yield cls(pool)
        finally:
            await pool.dispose()

    async def look(self, waiters: Sequence[Waiter]) -> None:
        """Poll once and report the finding to each waiter; replace a lost connection."""
        async with self._turn:
            try:
                await self._look(waiters)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                await self._look(waiters)

    async def _look(self, waiters: Sequence[Waiter]) -> None:
        pending = [waiter for waiter in waiters if not waiter.found.done()]
        for chunk in (
            pending[start : start + AT_ONCE] for start in range(0, len(pending), AT_ONCE)
        ):
            async with self._pool.begin() as connection:
                outcomes = await connection.run_sync(
                    results.take, [waiter.asked for waiter in chunk]
                )
            for waiter, outcome in zip(chunk, outcomes, strict=True):
                waiter.tell(outcome)


RELOOK_S = 2.0  # the longest time between two polls for all waiters
APART_S = 0.05  # the shortest time between two such polls,
SHARE = 4  # and at least this multiple of a poll's duration
AGAIN_S = 0.5  # time until followers are woken after a lookout has failed
LINGER_S = 1.0  # how long the connections stay open after the last waiter has left
ANSWER_WITHIN_S = 10.0  # for the final poll, after a caller's timeout


def wait(url: str, request: ResultRequest, *, timeout_s: float) -> Result | None:
    """See `lanes.client.Lanes.wait`."""
    with _join_lookout(url, request, final=timeout_s <= 0) as (lookout, waiter):
        try:
            if timeout_s > 0:
                return waiter.found.result(min(timeout_s, threading.TIMEOUT_MAX))
        except TimeoutError:
            lookout.look_again(waiter)
        try:
            return waiter.found.result(ANSWER_WITHIN_S)
        except TimeoutError:
            raise _away() from None


async def await_(url: str, request: ResultRequest, *, timeout_s: float) -> Result | None:
    """Wait as `wait` does, without blocking the event loop or one of its threads."""
    with _join_lookout(url, request, final=timeout_s <= 0) as (lookout, waiter):
        future = asyncio.wrap_future(waiter.found)
        if timeout_s > 0 and not await _wait_until_done(future, within_s=timeout_s):
            lookout.look_again(waiter)
        if not await _wait_until_done(future, within_s=ANSWER_WITHIN_S):
            raise _away()
        return future.result()


async def _wait_until_done(future: asyncio.Future[Result | None], *, within_s: float) -> bool:
    done, _ = await asyncio.wait({future}, timeout=within_s)
    return bool(done)


def _away() -> DatabaseAway:
    message = f"the database did not answer within {ANSWER_WITHIN_S:g} s, so whether there is a result is not known"
    return DatabaseAway(message)


class Lookout:
    """A thread that polls for all waiters of this process on one address; it ends a moment after the last has left."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._guard = threading.Lock()
        self._waiting: set[Waiter] = set()
        # Waiters to poll for at once: new ones, and those with an expired timeout.
        self._owed: set[Waiter] = set()
        # callbacks for each time that something may have been committed
        self._roused: set[Callable[[], object]] = set()
        # signals the thread that polls are owed, once the thread runs
        self._stir: Callable[[], object] = int
        self._ended = False

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="lanes-wait", daemon=True).start()

    def join(self, waiter: Waiter) -> bool:
        """Add a waiter; return False if this lookout has ended."""
        with self._guard:
            if not self._ended:
                self._waiting.add(waiter)
                self._owe(waiter)
            return not self._ended

    def attend(self, rouse: Callable[[], object]) -> bool:
        """Call `rouse` whenever something may have been committed; return False if this lookout has ended."""
        with self._guard:
            if not self._ended:
                self._roused.add(rouse)
            return not self._ended

    def ignore(self, rouse: Callable[[], object]) -> None:
        """Stop calling `rouse`; this takes no lock, because the garbage collector may call it in any thread."""
        self._roused.discard(rouse)

    def look_again(self, waiter: Waiter) -> None:
        """Poll once more for a waiter; the result of that poll is final."""
        waiter.final = True
        with self._guard:
            self._owe(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter that no longer waits."""
        waiter.found.cancel()
        with self._guard:
            self._waiting.discard(waiter)
            self._owed.discard(waiter)

    def _owe(self, waiter: Waiter) -> None:
        if not self._ended:
            self._owed.add(waiter)
            self._stir()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        # Passed to the waiting callers, because no other code can handle it.
        except BaseException as error:
            with self._guard:
                self._ended = True
                waiters = list(self._waiting)
            for waiter in waiters:
                waiter.fail(_reason(error))
            time.sleep(AGAIN_S)
            self._rouse()  # followers poll again, and start another lookout

    async def _serve(self) -> None:
        async with (
            listening(self._url) as commit_event,
            Looker.open(self._url) as looker,
            asyncio.TaskGroup() as group,
        ):
            work_event = asyncio.Event()
            with self._guard:
                self._stir = partial(
                    asyncio.get_running_loop().call_soon_threadsafe, work_event.set
                )
            work_event.set()
            self._rouse()  # for changes that were committed before this connection listened
            hearing = group.create_task(self._look_when(commit_event, looker))
            while await _is_set(work_event, within_s=LINGER_S) or not self._nobody_left():
                work_event.clear()
                await self._pay(looker)
            hearing.cancel()

    async def _pay(self, looker: Looker) -> None:
        """Poll in one query for all waiters that are owed a poll."""
        with self._guard:
            waiters, self._owed = list(self._owed), set()
        try:
            await looker.look(waiters)
        except SQLAlchemyError as error:
            for waiter in waiters:
                waiter.fail(_reason(error))

    async def _look_when(self, commit_event: asyncio.Event, looker: Looker) -> None:
        """Poll for all waiters after each commit and at intervals; keep polling while the database is unavailable."""
        while True:
            await _is_set(commit_event, within_s=RELOOK_S)
            commit_event.clear()
            with self._guard:
                waiters = list(self._waiting)
            self._rouse()
            began = time.monotonic()
            try:
                await looker.look(waiters)
            except SQLAlchemyError as error:
                if translate(error) is None:
                    raise
            await asyncio.sleep(max(APART_S, SHARE * (time.monotonic() - began)))

    def _rouse(self) -> None:
        with self._guard:
            callbacks = list(self._roused)
        for callback in callbacks:
            callback()

    def _nobody_left(self) -> bool:
        with self._guard:
            self._ended = not (self._waiting or self._roused)
            return self._ended


async def _is_set(event: asyncio.Event, *, within_s: float) -> bool:
    """Return whether the event is set within `within_s` seconds."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _reason(error: BaseException) -> BaseException:
    """Return the reason why polling fails, as an error of Lanes if there is one."""
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    why: LanesError | None = None
    if isinstance(error, SQLAlchemyError):
        why = translate(error)
    elif isinstance(error, DriverError | OSError):
        first = next(iter(str(error).splitlines()), type(error).__name__)
        why = DatabaseAway(f"the database does not answer: {first}")
    if why is not None:
        why.__cause__ = error
    return why or error


_lookouts: dict[str, Lookout] = {}  # the latest lookout of each address; it may have ended
_inherited: list[object] = []
_guard = threading.Lock()


@contextmanager
def _join_lookout(
    url: str, asked: ResultRequest, *, final: bool
) -> Iterator[tuple[Lookout, Waiter]]:
    waiter = Waiter(asked, final)
    lookout = _enter(url, lambda lookout: lookout.join(waiter))
    try:
        yield lookout, waiter
    finally:
        lookout.leave(waiter)


class Ear:
    """A subscription that wakes a follower when something may have been committed; `rouse` is called from another thread."""

    def __init__(self, url: str, rouse: Callable[[], object]) -> None:
        self._url, self._rouse = url, rouse
        self._lookout: Lookout | None = None

    def listen(self) -> None:
        """Subscribe to commits; must be called before each poll, because a lookout may have ended."""
        if self._lookout is None or not self._lookout.attend(self._rouse):
            self._lookout = _enter(self._url, lambda lookout: lookout.attend(self._rouse))

    def close(self) -> None:
        """Unsubscribe."""
        if self._lookout is not None:
            self._lookout.ignore(self._rouse)


def _enter(url: str, join: Callable[[Lookout], bool]) -> Lookout:
    """Join the lookout of that address; start another one if the last has ended."""
    with _guard:
        lookout = _lookouts.get(url)
        if lookout is None or not join(lookout):
            lookout = _lookouts[url] = Lookout(url)
            join(lookout)
            lookout.start()
        return lookout


def _forget_threads() -> None:
    """Forget the lookouts, whose threads do not exist in a forked process, and keep their connections open but unused.

    psycopg warns if an open connection is garbage-collected.
    """
    global _guard
    _guard = threading.Lock()
    _inherited.extend(_lookouts.values())
    _lookouts.clear()


os.register_at_fork(after_in_child=_forget_threads)
