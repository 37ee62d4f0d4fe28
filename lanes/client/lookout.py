"""Waiting for the end of items, in a program that uses the client.

One thread of the process serves all who wait on one address, over two connections that close a moment after the last has
left: one hears NOTIFY, the other looks for all of them in one query. Under load the channel is busy and its notifications
carry no key, so those that follow a look closely share the next one. A lost notification, an end without one, and a
connection that was lost unnoticed delay an answer by `RELOOK_S` at most. A follower of a workload's answers looks on a
connection of its own handle, and is woken here.
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
    """One who waits. `final`: whatever the next look finds is the answer, nothing too."""

    asked: ResultRequest
    final: bool
    found: Future[Result | None] = field(default_factory=Future)

    def tell(self, found: Result | NoResult) -> None:
        """End the wait if what a look found is a result, shows that there never will be one, or is final."""
        if isinstance(found, Result):
            self._end(found)
        elif (why := explain_no_result(self.asked, found)) is not None:
            self.fail(why)
        elif self.final:
            self._end(None)

    def fail(self, why: BaseException) -> None:
        """End the wait with an exception."""
        with suppress(InvalidStateError):  # it has an answer, or has left
            self.found.set_exception(why)

    def _end(self, result: Result | None) -> None:
        with suppress(InvalidStateError):
            self.found.set_result(result)


AT_ONCE = 1_000  # who wait, in one query


class Looker:
    """The connection that looks, for one look at a time."""

    def __init__(self, pool: AsyncEngine) -> None:
        self._pool = pool
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Provide a looker that connects when it is first needed."""
        pool = discreet_async_engine(
            url, pool_size=1, max_overflow=0, pool_pre_ping=True, isolation_level="READ COMMITTED"
        )
        try:
            yield cls(pool)
        finally:
            await pool.dispose()

    async def look(self, waiters: Sequence[Waiter]) -> None:
        """Tell each waiter once what there is; replace a connection that was lost."""
        async with self._turn:
            try:
                await self._look(waiters)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                await self._look(waiters)

    async def _look(self, waiters: Sequence[Waiter]) -> None:
        still = [each for each in waiters if not each.found.done()]
        for some in (still[start : start + AT_ONCE] for start in range(0, len(still), AT_ONCE)):
            async with self._pool.begin() as connection:
                found = await connection.run_sync(results.take, [each.asked for each in some])
            for each, what in zip(some, found, strict=True):
                each.tell(what)


RELOOK_S = 2.0  # the longest between two looks for everybody
APART_S = 0.05  # the shortest between two such looks,
SHARE = 4  # and at least this multiple of the time that a look takes
AGAIN_S = 0.5  # how soon a follower hears of a lookout that failed
LINGER_S = 1.0  # how long the connections outlive the last who waits
ANSWER_WITHIN_S = 10.0  # for the last look before a caller's time is up


def wait(url: str, asked: ResultRequest, *, timeout_s: float) -> Result | None:
    """See `lanes.client.Lanes.wait`."""
    with _join_lookout(url, asked, final=timeout_s <= 0) as (lookout, waiter):
        try:
            if timeout_s > 0:
                return waiter.found.result(min(timeout_s, threading.TIMEOUT_MAX))
        except TimeoutError:
            lookout.look_again(waiter)
        try:
            return waiter.found.result(ANSWER_WITHIN_S)
        except TimeoutError:
            raise _away() from None


async def await_(url: str, asked: ResultRequest, *, timeout_s: float) -> Result | None:
    """Wait as `wait` does, without blocking the event loop or any of its threads."""
    with _join_lookout(url, asked, final=timeout_s <= 0) as (lookout, waiter):
        found = asyncio.wrap_future(waiter.found)
        if timeout_s > 0 and not await _wait_until_done(found, within_s=timeout_s):
            lookout.look_again(waiter)
        if not await _wait_until_done(found, within_s=ANSWER_WITHIN_S):
            raise _away()
        return found.result()


async def _wait_until_done(found: asyncio.Future[Result | None], *, within_s: float) -> bool:
    done, _ = await asyncio.wait({found}, timeout=within_s)
    return bool(done)


def _away() -> DatabaseAway:
    said = f"the database did not answer within {ANSWER_WITHIN_S:g} s, so whether there is a result is not known"
    return DatabaseAway(said)


class Lookout:
    """Looks for everybody of this process who waits on one address; it ends a moment after the last has left."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._guard = threading.Lock()
        self._waiting: set[Waiter] = set()
        self._owed: set[Waiter] = set()  # a look at once: those who came, or whose time is up
        # whenever something may have been committed
        self._roused: set[Callable[[], object]] = set()
        # tells the thread that looks are owed, once it is there
        self._stir: Callable[[], object] = int
        self._ended = False

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="lanes-wait", daemon=True).start()

    def join(self, waiter: Waiter) -> bool:
        """Join a waiter; return False where this lookout has ended."""
        with self._guard:
            if not self._ended:
                self._waiting.add(waiter)
                self._owe(waiter)
            return not self._ended

    def attend(self, rouse: Callable[[], object]) -> bool:
        """Call `rouse` when something may have been committed; return False where this lookout has ended."""
        with self._guard:
            if not self._ended:
                self._roused.add(rouse)
            return not self._ended

    def ignore(self, rouse: Callable[[], object]) -> None:
        """Stop calling `rouse`, without a lock: the garbage collector may call this in any thread."""
        self._roused.discard(rouse)

    def look_again(self, waiter: Waiter) -> None:
        """End the wait of one waiter: the result of the next look is the answer."""
        waiter.final = True
        with self._guard:
            self._owe(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Forget a waiter that no longer waits."""
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
        except BaseException as error:  # the callers who wait get it; no other code can handle it
            with self._guard:
                self._ended = True
                left = list(self._waiting)
            for each in left:
                each.fail(_reason(error))
            time.sleep(AGAIN_S)
            self._rouse()  # followers look again, and start another lookout

    async def _serve(self) -> None:
        async with (
            listening(self._url) as heard,
            Looker.open(self._url) as looker,
            asyncio.TaskGroup() as group,
        ):
            stirred = asyncio.Event()
            with self._guard:
                self._stir = partial(asyncio.get_running_loop().call_soon_threadsafe, stirred.set)
            stirred.set()
            self._rouse()  # of what was committed before anybody heard
            hearing = group.create_task(self._look_when(heard, looker))
            while await _is_set(stirred, within_s=LINGER_S) or not self._nobody_left():
                stirred.clear()
                await self._pay(looker)
            hearing.cancel()

    async def _pay(self, looker: Looker) -> None:
        """Look for all waiters that are owed a look, in one query."""
        with self._guard:
            owed, self._owed = list(self._owed), set()
        try:
            await looker.look(owed)
        except SQLAlchemyError as error:
            for each in owed:
                each.fail(_reason(error))

    async def _look_when(self, heard: asyncio.Event, looker: Looker) -> None:
        """Look for all waiters after each commit and at intervals; wait while the database is away."""
        while True:
            await _is_set(heard, within_s=RELOOK_S)
            heard.clear()
            with self._guard:
                waiting = list(self._waiting)
            self._rouse()
            began = time.monotonic()
            try:
                await looker.look(waiting)
            except SQLAlchemyError as error:
                if translate(error) is None:
                    raise
            await asyncio.sleep(max(APART_S, SHARE * (time.monotonic() - began)))

    def _rouse(self) -> None:
        with self._guard:
            roused = list(self._roused)
        for each in roused:
            each()

    def _nobody_left(self) -> bool:
        with self._guard:
            self._ended = not (self._waiting or self._roused)
            return self._ended


async def _is_set(event: asyncio.Event, *, within_s: float) -> bool:
    """Return whether it was set within that time."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _reason(error: BaseException) -> BaseException:
    """Return the reason why looking fails, as an error of Lanes where there is one."""
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


_lookouts: dict[str, Lookout] = {}  # the last of each address; it may have ended
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
    """Rouses one who follows, whenever something may have been committed; `rouse` is called from another thread."""

    def __init__(self, url: str, rouse: Callable[[], object]) -> None:
        self._url, self._rouse = url, rouse
        self._lookout: Lookout | None = None

    def listen(self) -> None:
        """Listen for commits from now on; called before each look, because a lookout may have ended."""
        if self._lookout is None or not self._lookout.attend(self._rouse):
            self._lookout = _enter(self._url, lambda lookout: lookout.attend(self._rouse))

    def close(self) -> None:
        """Stop listening."""
        if self._lookout is not None:
            self._lookout.ignore(self._rouse)


def _enter(url: str, join: Callable[[Lookout], bool]) -> Lookout:
    """Join the lookout of that address; start another one when the last has ended."""
    with _guard:
        lookout = _lookouts.get(url)
        if lookout is None or not join(lookout):
            lookout = _lookouts[url] = Lookout(url)
            join(lookout)
            lookout.start()
        return lookout


def _forget_threads() -> None:
    """Start without the threads, which a forked process does not have, and keep their connections unused.

    psycopg warns of an open connection that is collected.
    """
    global _guard
    _guard = threading.Lock()
    _inherited.extend(_lookouts.values())
    _lookouts.clear()


os.register_at_fork(after_in_child=_forget_threads)
