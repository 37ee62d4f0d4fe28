"""What the tests of the whole house read."""

from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("flows", "tasks", "blocks", "lanes")


def modules(rooms: Sequence[str] = ROOMS) -> Iterator[Path]:
    """The modules of these rooms, all unless told."""
    for room in rooms:
        yield from (ROOT / room).rglob("*.py")
