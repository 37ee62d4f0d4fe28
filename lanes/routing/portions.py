"""How much is routed at a time, so that a backlog delays nothing urgent. Pure: whoever routes tells how long it took."""

from dataclasses import dataclass

MOST = 500  # items of one transaction
FEW = 20  # of the first one, which has what is urgent
BESIDE_ANSWERS_S = 0.05  # how long a chunk may take while answers are under way


@dataclass
class Portions:
    """The size of the next chunk: few items first, then as `many` as its time allows, as far as that is known."""

    size: int = FEW
    many: int = FEW

    def begin(self) -> None:
        """Something new came: it may be urgent, and is not to wait for the many. They follow again after these few."""
        self.size = FEW

    def took(self, seconds: float, *, busy: bool) -> None:
        """The last chunk took so long; `busy`: answers are under way."""
        if not busy:
            self.many = MOST
        else:
            fitting = int(self.size * BESIDE_ANSWERS_S / max(seconds, 0.001))
            fitting = max(FEW, min(MOST, fitting, 4 * self.size))
            # Few items take longer than their share of many: they say nothing against what was known.
            self.many = fitting if self.size >= self.many else max(fitting, self.many)
        self.size = self.many
