"""Errors of one kind: those that differ only in numbers and in the provider's own names. Pure."""

import re
from dataclasses import dataclass, field

from lanes.units import counted

VARIES = re.compile(r"\b(?:req|msg|msgbatch)_\w+|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d+")
MOST_KINDS = 100  # that are told apart; all further ones are one more
OTHERS = "other errors"


def kind_of(error: str) -> str:
    """Equal for errors of one kind."""
    return VARIES.sub("#", error)


@dataclass
class Failures:
    """How often errors were met, by kind; each is told as the first of its kind."""

    _kinds: dict[str, tuple[str, int]] = field(default_factory=dict)

    def met(self, error: str, times: int = 1) -> None:
        """It was met so many times more."""
        kind = kind_of(error)
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            kind = error = OTHERS
        said, before = self._kinds.get(kind, (error, 0))
        self._kinds[kind] = (said, before + times)

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(times for _, times in self._kinds.values())

    def told(self, *, most: int = 3) -> str:
        """The most frequent ones: "10x the batch expired; 2x the answer is not JSON; 3 of other kinds"."""
        ordered = sorted(self._kinds.values(), key=lambda each: -each[1])
        rest = sum(times for _, times in ordered[most:])
        lines = [f"{times:,}x {error}" for error, times in ordered[:most]] + (
            [f"{rest:,} of other kinds"] if rest else []
        )
        return "; ".join(lines)


@dataclass(frozen=True)
class Failed:
    """Calls that failed for one kind of error, or answers that cannot be used, with how many items they were about."""

    workload: str
    error: str
    items: int
    calls: int  # 0: they were answered, and the answers cannot be used

    def more(self, other: "Failed") -> "Failed":
        """Both together."""
        return Failed(self.workload, self.error, self.items + other.items, self.calls + other.calls)

    @property
    def sentence(self) -> str:
        """For a person."""
        if not self.calls:
            return (
                f"{counted(self.items, 'answer')} of {self.workload} cannot be used: {self.error}"
            )
        return f"{counted(self.calls, 'call')} of {self.workload} failed, with {counted(self.items, 'item')}: {self.error}"
