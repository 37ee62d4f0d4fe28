"""The console of every command, and the display of the steps of a longer command with their times.

The console escapes the control characters of a text; only those of rich itself reach the terminal.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Protocol, TextIO

from rich import console
from rich.console import Group
from rich.live import Live
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from lanes.text import VisibleStream, visible

EVERY_S = 5.0  # interval of the reminder lines in a log without other lines


class StepProgress(Protocol):
    """A receiver of step events; several steps may run at once, each in its own thread."""

    def begin(self, title: str) -> None: ...

    def end(self, title: str, note: str, seconds: float) -> None: ...

    def fail(self, title: str, seconds: float, *, why: str = "failed") -> None: ...

    def say(self, sentence: str) -> None: ...


class Silent:
    """A display that shows nothing."""

    def begin(self, title: str) -> None: ...

    def end(self, title: str, note: str, seconds: float) -> None: ...

    def fail(self, title: str, seconds: float, *, why: str = "failed") -> None: ...

    def say(self, sentence: str) -> None: ...


class StepsUnderWay:
    """The running steps, each with the clock time of its start."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._running: dict[str, float] = {}

    def begin(self, title: str) -> None:
        with self._lock:
            self._running[title] = self._clock()

    def _leave(self, title: str) -> None:
        with self._lock:
            self._running.pop(title, None)


class StepLines(StepsUnderWay):
    """A display for logs and pipes: one plain line when a step ends."""

    def __init__(
        self, out: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock)
        self.out, self._said_at = out or sys.stderr, clock()

    def end(self, title: str, note: str, seconds: float) -> None:
        self._leave(title)
        self.say(f"{title}: {note} ({seconds:.1f} s)")

    def fail(self, title: str, seconds: float, *, why: str = "failed") -> None:
        self._leave(title)
        self.say(f"{title}: {why} ({seconds:.1f} s)")

    def say(self, sentence: str) -> None:
        # The reader may have exited, as `tee` does after Ctrl-C; the work must continue.
        with suppress(BrokenPipeError):
            print(sentence, file=self.out, flush=True)
        self._said_at = self._clock()

    def remind(self) -> None:
        """Print the running steps if no line was printed for five seconds."""
        now = self._clock()
        with self._lock:
            running = [f"{title} ({now - since:.0f} s)" for title, since in self._running.items()]
        if running and now - self._said_at >= EVERY_S:
            self.say(f"waiting for {', '.join(running)}")


class Steps(StepsUnderWay):
    """A display for terminals: finished steps as lines above, running steps with their times below."""

    def __init__(self, live: Live) -> None:
        super().__init__(time.monotonic)
        self._live = live

    def __rich__(self) -> Group:
        now = time.monotonic()
        with self._lock:
            rows = [
                Spinner(
                    "dots",
                    Text.assemble(f" {title} ", (f"{now - since:.0f} s", "dim")),
                    style="cyan",
                )
                for title, since in self._running.items()
            ]
        return Group(*rows)

    def end(self, title: str, note: str, seconds: float) -> None:
        self._leave(title)
        took = (f"  {seconds:.1f} s", "cyan")
        self._print(Text.assemble(("✓ ", "green"), title, (f"  {note}", "dim"), took))

    def fail(self, title: str, seconds: float, *, why: str = "failed") -> None:
        self._leave(title)
        took = (f"  {seconds:.1f} s", "cyan")
        self._print(Text.assemble(("✗ ", "red"), title, (f"  {why}", "dim"), took))

    def say(self, sentence: str) -> None:
        self._print(Text(sentence, style="dim"))

    def _print(self, line: Text) -> None:
        self._live.console.print(line, soft_wrap=True, highlight=False)


@contextmanager
def progress() -> Iterator[StepProgress]:
    """Provide the display of steps that suits standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        with _keep_reminding(lines := StepLines()):
            yield lines
        return
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        steps = Steps(live)
        live.update(steps)
        yield steps


@contextmanager
def _keep_reminding(lines: StepLines) -> Iterator[None]:
    """Call `lines.remind` every second inside the block."""
    over = threading.Event()

    def remind() -> None:
        while not over.wait(1):
            lines.remind()

    thread = threading.Thread(target=remind, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Console(console.Console):
    """A console that writes the control characters of a text as escapes."""

    def _stream(self) -> IO[str]:
        """Return the stream that a `VisibleStream` wraps, also during a live display."""
        stream = console.Console.file.fget(self)  # pyright: ignore[reportOptionalCall]
        return stream.rich_proxied_file if isinstance(stream, VisibleStream) else stream

    file = property(_stream, console.Console.file.fset)  # pyright: ignore[reportIncompatibleMethodOverride]

    def render(
        self, renderable: console.RenderableType, options: console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of a renderable, with the control characters of their text escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)
