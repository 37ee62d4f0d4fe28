"""Where a command's rows go: standard output, which may be slow, a file, or a pipe that somebody closes."""

import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

PATIENCE_S = 1.0  # before it is said how far it is
TOLD_EVERY_S = 10.0  # where it cannot be shown in place


class ReaderLeft(Exception):
    """Nobody reads any more, as after `| head`: not an error of whoever writes."""


class Outlet:
    """Standard output in UTF-8, whatever the locale says."""

    def write(self, text: str) -> None:
        """The text is with the reader, or on its way.

        Raises:
            ReaderLeft: there is none any more.
        """
        try:
            sys.stdout.buffer.write(text.encode())
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            self._give_up()

    def look(self) -> None:
        """Nothing happens as long as somebody reads, or nobody can tell.

        Raises:
            ReaderLeft: the other end of the pipe is closed.
        """
        if not hasattr(select, "poll") or not _is_pipe(sys.stdout.fileno()):
            return
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            self._give_up()

    def _give_up(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # what is buffered still meets no closed pipe when the process ends
        raise ReaderLeft


class Counting:
    """Says on standard error how many rows were written, where standard output is redirected and it takes a while."""

    def __init__(self, what: str) -> None:
        self._what, self._count = what, 0
        self._next = time.monotonic() + PATIENCE_S
        self._status: Status | None = None
        self._silent = sys.stdout.isatty()

    def add(self, number: int) -> None:
        """So many more."""
        self._count += number
        now = time.monotonic()
        if self._silent or now < self._next:
            return
        console = Console(stderr=True)
        said = f"{self._what}: {self._count:,} written so far"
        if not console.is_terminal:
            self._next = now + TOLD_EVERY_S
            print(said, file=sys.stderr, flush=True)
        elif self._status is None:
            self._status = console.status(said)
            self._status.start()
        else:
            self._status.update(said)

    def close(self) -> None:
        """What was shown in place is gone."""
        if self._status is not None:
            self._status.stop()
            self._status = None


@contextmanager
def counting(what: str) -> Iterator[Counting]:
    """Counts rows as they are written."""
    counted = Counting(what)
    try:
        yield counted
    finally:
        counted.close()


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
