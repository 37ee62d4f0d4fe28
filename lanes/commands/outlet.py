"""The output of a command's rows: standard output, which may be slow, a file, or a pipe that its reader closes."""

import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.status import Status

from lanes.errors import SetupError
from lanes.stand.progress import Console

PATIENCE_S = 1.0  # before it is said how far it is
TOLD_EVERY_S = 10.0  # where it cannot be shown in place


class ReaderLeft(Exception):
    """The reader has closed the pipe, as `| head` does; this is no error."""


class Outlet:
    """Standard output in UTF-8, whatever the locale says."""

    def write(self, text: str) -> None:
        """Write the text to the reader.

        Raises:
            ReaderLeft: the reader has closed the pipe.
            SetupError: it takes no more, as a disk that is full.
        """
        try:
            sys.stdout.buffer.write(text.encode())
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            _drop_the_rest()
            raise ReaderLeft from None
        except OSError as error:
            _drop_the_rest()
            raise SetupError(
                f"standard output takes no more ({error.strerror}): what was written is not all"
            ) from error

    def look(self) -> None:
        """Check that the reader has not closed the pipe, where the system can tell.

        Raises:
            ReaderLeft: the other end of the pipe is closed.
        """
        if not hasattr(select, "poll") or not _is_pipe(sys.stdout.fileno()):
            return
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            _drop_the_rest()
            raise ReaderLeft


class Counting:
    """The note on standard error of how many rows were written.

    It is shown for rows where standard output is redirected and writing takes a while, and for other things always.
    """

    def __init__(self, what: str, done: str | None = None) -> None:
        self._what, self._done, self._count = what, done or "written so far", 0
        self._next = time.monotonic() + PATIENCE_S
        self._status: Status | None = None
        self._silent = done is None and sys.stdout.isatty()

    def add(self, number: int) -> None:
        """Count `number` more rows."""
        self._count += number
        now = time.monotonic()
        if self._silent or now < self._next:
            return
        console = Console(stderr=True)
        said = f"{self._what}: {self._count:,} {self._done}"
        if not console.is_terminal:
            self._next = now + TOLD_EVERY_S
            print(said, file=sys.stderr, flush=True)
        elif self._status is None:
            self._status = console.status(said)
            self._status.start()
        else:
            self._status.update(said)

    def close(self) -> None:
        """Remove what was shown in place."""
        if self._status is not None:
            self._status.stop()
            self._status = None


@contextmanager
def counting(what: str, done: str | None = None) -> Iterator[Counting]:
    """Count rows as they are written, or as `done` says."""
    counted = Counting(what, done)
    try:
        yield counted
    finally:
        counted.close()


def _drop_the_rest() -> None:
    """Discard buffered output, so that the end of the process does not fail on a closed pipe or a full disk."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
