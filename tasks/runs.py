"""What every run shares: its database, troubles that its log names once, the signal to stop, and the end of a refused run."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from prefect.client.schemas.objects import State, StateType
from prefect.logging import get_run_logger

from blocks.database import DatabaseBlock
from lanes.errors import (
    ActionRefused,
    PlaybookInvalid,
    SetupError,
    StillLocked,
    UnknownItem,
    UnknownWorkload,
)
from lanes.store.database import Database
from lanes.words import BLOCK


@asynccontextmanager
async def database() -> AsyncIterator[Database]:
    """Provide the database of block `lanes`."""
    block = await DatabaseBlock.aload(BLOCK)
    async with block.connect() as db:
        yield db


@contextmanager
def stop_signals(stop: Callable[[], object] = lambda: None) -> Iterator[asyncio.Event]:
    """Provide an event that is set, and call `stop`, when the process is asked to end.

    Prefect's own handler would end the run in the middle of its work.

    Workers, `lanes down`, systemd and Kubernetes send SIGTERM, terminals SIGINT. Later signals change nothing, until the
    process has ended: the run first reports its end to Prefect. Outside the main thread, signals are not handled.
    """
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    def stop_once() -> None:
        if not asked.is_set():
            asked.set()
            stop()

    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        for each in before:
            loop.add_signal_handler(each, stop_once)
    except (RuntimeError, ValueError):
        before = {}
    try:
        yield asked
    finally:
        for each, handler in before.items():
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_IGN if asked.is_set() else handler)


class Troubles:
    """The troubles of one loop, each under a name."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def met(self, name: str, trouble: str) -> None:
        """Log the trouble, unless it was logged before and has not changed."""
        if self._said.get(name) != trouble:
            self._said[name] = trouble
            get_run_logger().warning("%s", trouble)

    def over(self, name: str) -> None:
        """Forget the trouble, so that it is logged when it occurs again."""
        self._said.pop(name, None)


def described(error: BaseException) -> str:
    """Describe an error in a line: its kind and the first line of its text."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


REFUSALS = (ActionRefused, PlaybookInvalid, SetupError, StillLocked, UnknownItem, UnknownWorkload)
REFUSED = "Refused"  # name of the state; Prefect's event is called after it


def refused(reason: Exception) -> State[str]:
    """Return the final state of a run whose wish cannot be granted; its message is the reason."""
    return State(type=StateType.FAILED, name=REFUSED, message=str(reason))
