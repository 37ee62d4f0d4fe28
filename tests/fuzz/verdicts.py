"""The faults that `make fuzz` finds."""

from dataclasses import dataclass

KINDS = ("crash", "harmed", "unbooked", "disagrees")
MOST_SHOWN = 2_000  # characters of a case in a message; its file contains the whole case


@dataclass(frozen=True)
class FuzzFault:
    """A case that had a forbidden effect."""

    kind: str  # one of `KINDS`
    area: str
    why: str
    case: str

    def __str__(self) -> str:
        return f"{self.kind} in {self.area}: {self.why:.{MOST_SHOWN}}\n  case: {self.case:.{MOST_SHOWN}}"
