"""How long a call takes by how many items it carries: a line through the calls that were answered of late. Pure.

As BentoML's dispatcher regresses the service time on the batch size. What it weighs with it, waiting against the time that a
shared call saves, decides nothing here: calls run beside each other, so a call of one's own costs money and no time, and what
waiting may cost is the workload's window. But a larger pack is answered later, and has to leave earlier to be in time.
"""

from dataclasses import dataclass

from lanes.ids import VersionId

MEMORY = 0.98  # weight of what was known of a version's calls against the newest one: some fifty of them count
UNSURE = 1.25  # times what calls take on average: many take longer
ALIKE = 1e-6  # spread of the sizes below which they tell nothing of more or fewer items


@dataclass
class _Line:
    """Sums over calls, fading: their number, items, seconds, items squared, and items times seconds."""

    calls: float = 0
    items: float = 0
    seconds: float = 0
    squares: float = 0
    products: float = 0

    def add(self, items: int, seconds: float) -> None:
        """One call more."""
        self.calls = MEMORY * self.calls + 1
        self.items = MEMORY * self.items + items
        self.seconds = MEMORY * self.seconds + seconds
        self.squares = MEMORY * self.squares + items * items
        self.products = MEMORY * self.products + items * seconds

    def at(self, items: int) -> float:
        """Seconds of a call of so many items: never fewer for more items, nor below 0."""
        usual, mean_s = self.items / self.calls, self.seconds / self.calls
        spread = self.squares / self.calls - usual * usual
        a_item = (
            max(0.0, (self.products / self.calls - usual * mean_s) / spread)
            if spread > ALIKE
            else 0.0
        )
        return max(0.0, mean_s + a_item * (items - usual))


class ServiceTimes:
    """What calls of one drain took, by version."""

    def __init__(self) -> None:
        self._lines: dict[VersionId, _Line] = {}

    def answered(self, version_id: VersionId, items: int, seconds: float) -> None:
        """A call of so many items was answered after so long."""
        self._lines.setdefault(version_id, _Line()).add(items, seconds)

    def takes_s(self, version_id: VersionId, items: int) -> float:
        """Seconds within which nearly every call of so many items is answered; 0 while nothing is known."""
        line = self._lines.get(version_id)
        return 0.0 if line is None else UNSURE * line.at(items)
