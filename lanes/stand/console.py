"""The console of every command: what rich draws on it holds no control character but rich's own."""

from collections.abc import Iterable
from typing import IO

from rich import console
from rich.segment import Segment

from lanes.text import VisibleStream, visible


class Console(console.Console):
    """A console that writes the control characters of a text as escapes."""

    def _stream(self) -> IO[str]:
        """Return the stream beneath a `VisibleStream`, also while something live stands between."""
        stream = console.Console.file.fget(self)  # pyright: ignore[reportOptionalCall]
        return stream.rich_proxied_file if isinstance(stream, VisibleStream) else stream

    file = property(_stream, console.Console.file.fset)  # pyright: ignore[reportIncompatibleMethodOverride]

    def render(
        self, renderable: console.RenderableType, options: console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render something to segments, and make the text of each visible."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)
