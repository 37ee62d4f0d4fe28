"""What `make fuzz` finds."""

from dataclasses import dataclass

KINDS = ("crash", "harmed", "unbooked", "disagrees")
MOST_SHOWN = 2_000  # characters of a case in a message; its file holds the whole


@dataclass(frozen=True)
class FuzzFault:
    """A case that did what no case may do."""

    kind: str  # one of `KINDS`
    area: str
    why: str
    case: str

    def __str__(self) -> str:
        return f"{self.kind} in {self.area}: {self.why:.{MOST_SHOWN}}\n  case: {self.case:.{MOST_SHOWN}}"
