"""What commands print: lines with a state in front for people, JSON for programs."""

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lanes.text import in_json

if TYPE_CHECKING:
    from lanes.stand.console import Console

AsJson = Annotated[
    bool, Parameter(name="--json", negative="", help="Print data as JSON on standard output.")
]

MARKS = {
    "running": "green",
    "yours": "green",
    "ok": "green",
    "set": "green",
    "silent": "red",
    "wrong": "red",
}


def print_json(value: object) -> None:
    """The value on standard output; what JSON does not know is written as text."""
    print(in_json(json.dumps(value, indent=2, default=str)))


def print_line(console: "Console", state: str, name: str, sentence: str) -> None:
    """One thing and how it is."""
    from rich.markup import escape  # a program that asks for JSON does not wait for what draws

    console.print(f"[{MARKS.get(state, 'yellow')}]{state:<10}[/] {name:<15} {escape(sentence)}")
