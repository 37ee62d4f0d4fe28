"""The modules that tests of the whole project read."""

from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("flows", "tasks", "blocks", "lanes")


def modules(rooms: Sequence[str] = ROOMS) -> Iterator[Path]:
    """Yield the modules of these rooms, by default of all rooms."""
    for room in rooms:
        yield from (ROOT / room).rglob("*.py")
