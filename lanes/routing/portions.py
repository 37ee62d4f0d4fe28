"""How much is routed at a time, so that a backlog delays nothing urgent. Pure: whoever routes tells what else goes on.

A chunk has a price of its own, its statements, whatever its size. So the sizes do not follow the time that chunks take: on a
machine that is full each takes longer, and smaller ones, which are more, would fill it further.
"""

from dataclasses import dataclass

MOST = 500  # items of one transaction
BESIDE_ANSWERS = 200  # of one while answers are under way: what becomes urgent meanwhile waits for no more than these
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
