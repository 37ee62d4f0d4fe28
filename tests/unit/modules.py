"""What the tests of the whole house read."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("flows", "tasks", "blocks", "lanes")


def modules() -> Iterator[Path]:
    """The modules of all rooms."""
    for room in ROOMS:
        yield from (ROOT / room).rglob("*.py")
