"""A table of the report, as plain text, with what its figures mean."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

Legend = Mapping[
    str, str
]  # what the figure of a heading means, or those of several, with ", " between them


@dataclass(frozen=True)
class Section:
    """A table: `sides` says l(eft) or r(ight) for each column. Cells are not escaped yet."""

    title: str
    heads: Sequence[str]
    sides: str
    rows: Sequence[Sequence[str]]
    note: str = ""
    legend: Legend = field(default_factory=dict[str, str])

    @property
    def explained(self) -> str:
        """The line below the table: its note, and what each figure means."""
        return explained(self.legend, self.note)


def of_shown(legend: Legend, shown: Collection[str]) -> Legend:
    """What of a legend explains a figure that is shown."""
    return {
        heads: meaning
        for heads, meaning in legend.items()
        if any(each in shown for each in heads.split(", "))
    }


def explained(legend: Legend, note: str = "") -> str:
    """A legend as a line: "Met: in time. Missed: late, or failed."."""
    return " ".join(
        [*([note] if note else []), *(f"{heads}: {meaning}." for heads, meaning in legend.items())]
    )
