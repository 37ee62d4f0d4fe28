"""Tables for both a terminal and a Markdown page, with the meaning of each figure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from lanes.text import cell, plain
from lanes.units import count

Row = TypeVar("Row")
Row_contra = TypeVar("Row_contra", contravariant=True)
Side = Literal["left", "right"]
LEFT: Side = "left"
RIGHT: Side = "right"
LONGEST = 300  # characters of a cell
MOST_ROWS = 20  # of a table in a terminal; a note counts the hidden rows
NO_BREAK = "\u00a0"  # a non-breaking space


@dataclass(frozen=True)
class Column(Generic[Row_contra]):
    """A column of a table: its heading, its alignment, its meaning, and its text for a row.

    `cell` returns plain text, which each rendering escapes. The meaning is empty for a name (a workload, a reason).
    """

    head: str
    side: Side
    meaning: str
    cell: Callable[[Row_contra], str]


def label(head: str, cell: Callable[[Row], str]) -> Column[Row]:
    """Return a column of names, which need no explanation."""
    return Column(head, LEFT, "", cell)


def phrase(head: str, meaning: str, cell: Callable[[Row], str]) -> Column[Row]:
    """Return a column of words with their meaning."""
    return Column(head, LEFT, meaning, cell)


def figure(head: str, meaning: str, cell: Callable[[Row], str]) -> Column[Row]:
    """Return a column of numbers with their meaning."""
    return Column(head, RIGHT, meaning, cell)


class Table(Generic[Row]):
    """Rows under a title, with a column for each figure; `note` is a sentence below them."""

    def __init__(self, title: str, rows: Sequence[Row], *columns: Column[Row], note: str = ""):
        self.title, self.rows, self.columns, self.note = title, rows, columns, note

    @property
    def heads(self) -> list[str]:
        """The headings."""
        return [each.head for each in self.columns]

    @property
    def cells(self) -> list[list[str]]:
        """The text of every row, not escaped yet."""
        return [[each.cell(row) for each in self.columns] for row in self.rows]

    @property
    def legend(self) -> str:
        """The note and the meaning of each figure, in one line."""
        return render_legend({each.head: each.meaning for each in self.columns}, self.note)


def render_legend(meanings: Mapping[str, str], note: str = "") -> str:
    """Return a legend in one line: "Met: in time. Missed: late, or failed."; names without a meaning are left out."""
    legend = [f"{head}: {meaning}." for head, meaning in meanings.items() if meaning]
    return " ".join([note, *legend] if note else legend)


def render_terminal(table: Table[Row], *, below: str = "", most: int = MOST_ROWS) -> RenderableType:
    """Return a table for a terminal, with its title above it on one line and `below` under it."""
    shown = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    shown.pad_edge, shown.show_edge, shown.collapse_padding = False, False, True
    for each in table.columns:
        shown.add_column(each.head, justify=each.side, no_wrap=each.side == RIGHT)
    for row in table.cells[:most]:
        shown.add_row(*(Text(plain(text, most=LONGEST), overflow="fold") for text in row))
    notes = [below, describe_hidden_rows(len(table.rows), most)]
    return Group(*split_title(shown), *(Text(each, "dim") for each in notes if each))


def split_title(table: RichTable) -> tuple[Text, RichTable]:
    """Return the title in bold, and the table without it: rich would wrap a title to the table's width."""
    title, table.title = str(table.title), None
    return Text(title, style="bold"), table


def render_markdown(table: Table[Row], *, most: int) -> str:
    """Return a Markdown table of at most `most` rows; numbers never break over two lines."""
    if not table.rows:
        return "Nothing yet."
    sides: list[Side] = [each.side for each in table.columns]
    rules = [":--" if side == LEFT else "--:" for side in sides]
    rows = [[*map(_escape_cell, row, sides)] for row in table.cells[:most]]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in [table.heads, rules, *rows])
    more = describe_hidden_rows(len(table.rows), most)
    return f"{lines}\n\n{more}" if more else lines


def format_part(part: int, whole: int) -> str:
    """Return a part of a whole as text: "3 of 1,204"."""
    return f"{count(part)} of {count(whole)}"


def describe_hidden_rows(number: int, most: int) -> str:
    """Return a sentence on how many of `number` rows are hidden; empty if all are shown."""
    return f"{count(number - most)} more are not shown." if number > most else ""


def _escape_cell(text: str, side: Side) -> str:
    safe = cell(text, most=LONGEST)
    return safe.replace(" ", NO_BREAK) if side == RIGHT else safe
