"""A table of the report, as plain text."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A table: `sides` says l(eft) or r(ight) for each column. Cells are not escaped yet."""

    title: str
    heads: Sequence[str]
    sides: str
    rows: Sequence[Sequence[str]]
    note: str = ""
