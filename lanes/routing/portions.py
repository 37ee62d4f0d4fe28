"""How much is routed at a time, so that a backlog delays nothing urgent. Pure: whoever routes tells what else goes on.

A chunk has a price of its own, its statements, whatever its size. So the sizes do not follow the time that chunks take: on a
machine that is full each takes longer, and smaller ones, which are more, would fill it further.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

MOST = 1_000  # items of one transaction
BESIDE_ANSWERS = 200  # of one while answers are under way: what becomes urgent meanwhile waits for no more than these
HALVED = 400  # items of one that is saved in two statements: of fewer, the second costs more than it gains
FEW = 20  # of the first one, which has what is urgent


@dataclass
class Portions:
    """The size of the next chunk: few items first, then many."""

    size: int = FEW

    def begin(self) -> None:
        """Something new came: it may be urgent, and is not to wait for the many. They follow again after these few."""
        self.size = FEW

    def go_on(self, *, busy: bool) -> None:
        """A chunk was routed, and more waits; `busy`: answers are under way."""
        self.size = BESIDE_ANSWERS if busy else MOST


def halves(of: Sequence[T]) -> list[Sequence[T]]:
    """What is decided and saved at a time: of many the half, so that one half is decided while the other is saved."""
    middle = -(-len(of) // 2)
    return [of] if len(of) < HALVED else [of[:middle], of[middle:]]
