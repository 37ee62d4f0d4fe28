"""The display of a main job run: its progress, and the reason of each wait."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from lanes.stand.progress import EVERY_S, Console


class Onlooker(Protocol):
    """A display of progress counts, and of the reason of a wait."""

    def show_count(self, what: str, done: int, total: int) -> None: ...

    def show_wait(self, sentence: str) -> None: ...


class CountLines:
    """A display for logs: a line for every tenth done, and the reason of a wait after five seconds without a line."""

    def __init__(
        self, out: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out, self._clock = out or sys.stderr, clock
        self._tenths: dict[str, int] = {}
        self._said_at = clock()

    def show_count(self, what: str, done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if self._tenths.get(what) != tenth:
            self._tenths[what] = tenth
            self._say(f"{what}: {done:,} of {total:,}")

    def show_wait(self, sentence: str) -> None:
        if self._clock() - self._said_at >= EVERY_S:
            self._say(sentence)

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)
        self._said_at = self._clock()


class Bars:
    """A display for terminals: progress bars, with the reason of a wait in the line below."""

    def __init__(self, bars: Progress) -> None:
        self._bars, self._tasks, self._waits = bars, dict[str, TaskID](), ""

    def __rich__(self) -> Group:
        return Group(self._bars, *([Text(self._waits, style="dim")] if self._waits else []))

    def show_count(self, what: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=max(total, 1))

    def show_wait(self, sentence: str) -> None:
        self._waits = sentence


@contextmanager
def onlooker() -> Iterator[Onlooker]:
    """Provide the display of a run that suits standard error, and clear the last wait at the end."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield CountLines()
        return
    columns = (
        TextColumn("{task.description:>16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    bars = Bars(Progress(*columns, console=console))
    with Live(bars, console=console, refresh_per_second=8):
        try:
            yield bars
        finally:
            bars.show_wait("")
