"""A reader of pages that sees them as a person does: each table with the text below it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

# Heads that are not figures: the subject of a row, text of people or the provider, and plain words.
NAMES = frozenset(
    (
        "",
        "Workload",
        "Lane",
        "Reason",
        "Key",
        "Field",
        "Version",
        "Batch",
        "Note",
        "State",
        "Incident",
        "Proposal",
        "Promise",
        "Since",
        "What is wrong",
        "Model",
        "Account",
        "Circuit",
        "Playbook",
        "Consumer",
        "Started by",
        "Set by",
        "Why",
        "Because",
        "Budget",
        "Generation",
        "Pattern",
        "Could move to batch",
        "Criterion",
        "Evidence",
        "Counted in this order",
        "A month",
        "If",
        "Step",
        "Approval",
        "Gate",
        "When",
        "What",
        "Who",
        "Set at",
        "Number",
        "For example",
        "Now",
        "In the replay",
        "Requested by",
        "Held because",
        "Last error",
        "Limit",
        "Reason of the newest",
    )
)
BY_ROW = ("What", "Gate")  # tables with this first head have a figure in each row


@dataclass
class ShownTable:
    """The names of a table's figures as they are shown, and all text until the next table."""

    figures: list[str]
    said: str = ""

    @property
    def unexplained(self) -> list[str]:
        """The figures whose meaning the text below does not give."""
        return [
            name
            for name in self.figures
            if not any(_explains(self.said, each) for each in _names(name))
        ]


def in_artifact(page: str) -> list[ShownTable]:
    """Return the tables of a Markdown page."""
    found: list[ShownTable] = []
    below = False
    for block in page.split("\n\n"):
        if block.startswith("|"):
            heads, _, *rows = [
                [_plain(each) for each in line[1:-1].split(" | ")] for line in block.splitlines()
            ]
            found.append(_shown(heads, [row[0] for row in rows]))
            below = True
        elif block.startswith(("#", "!", "<")):
            below = False
        elif below:
            found[-1].said += f"{_plain(block)} "
    return found


def in_terminal(page: RenderableType) -> list[ShownTable]:
    """Return the tables that are written to a terminal."""
    found: list[ShownTable] = []
    below = False
    for each in _each(page):
        if isinstance(each, Table):
            found.append(
                _shown(
                    [str(column.header) for column in each.columns], map(str, each.columns[0].cells)
                )
            )
            below = True
        elif isinstance(each, Text) and each.plain and below:
            found[-1].said += f"{each.plain} "
        else:
            below = False
    return found


def unexplained(shown: Iterable[ShownTable]) -> list[str]:
    """Return the figures of a page that no text below their table explains."""
    return [name for each in shown for name in each.unexplained]


def _shown(heads: list[str], labels: Iterable[str]) -> ShownTable:
    rows = labels if heads[0] in BY_ROW else ()
    return ShownTable([name for name in (*heads, *rows) if name not in NAMES])


def _each(of: RenderableType) -> Iterator[RenderableType]:
    if isinstance(of, Group):
        for each in of.renderables:
            yield from _each(each)
    else:
        yield of


def _names(shown: str) -> set[str]:
    """Return the names of a heading of several lines: the whole heading, its first line, and its last line."""
    lines = shown.split("\n")
    return {" ".join(lines), lines[0], lines[-1]}


def _explains(said: str, name: str) -> bool:
    return re.search(rf"(?:^|[.,] ){re.escape(name)}(?:, [^.:]+)?: \S", said) is not None


def _plain(markdown: str) -> str:
    return re.sub(r"\\(.)", r"\1", markdown).strip()
