"""Sample answers: what was asked, what was answered, and what that took."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from lanes.report.summary import lane_name
from lanes.report.table import Table, label
from lanes.settling.listing import AnswerExample
from lanes.text import plain
from lanes.units import seconds, usd
from lanes.words import Lane, Standing

TITLE = "Sample answers"
SHOWN = 180  # characters of an input and of an answer, two lines of a terminal


def render(examples: Sequence[AnswerExample]) -> RenderableType:
    """Show each example with its item, input, answer and history, as plain text whatever it holds."""
    lines = RichTable.grid(padding=(0, 1))
    lines.add_column(justify="right", no_wrap=True)
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for place, each in enumerate(examples, 1):
        item = Text.assemble((plain(each.workload, most=40), "bold"), " ", plain(each.key, most=60))
        lines.add_row(f"{place}", "item", item)
        lines.add_row("", "input", Text(plain(asked(each.payload), most=SHOWN)))
        lines.add_row("", "answer", Text(plain(answer(each), most=SHOWN), style="green"))
        lines.add_row("", "how", Text(how(each)))
    return Group(Text(TITLE, style="bold"), lines)


def as_table(examples: Sequence[AnswerExample]) -> Table[AnswerExample]:
    """Return the examples for an artifact, without their inputs: payloads stay in Postgres."""
    return Table(
        TITLE,
        examples,
        label("Item", lambda of: f"{of.workload}: {plain(of.key, most=60)}"),
        label("Answer", lambda of: plain(answer(of), most=SHOWN)),
        label("How", how),
    )


def asked(payload: Mapping[str, Any]) -> str:
    """Return what an item says: its longest text, or all of it where it holds none."""
    texts = [value for value in payload.values() if isinstance(value, str)]
    return max(texts, key=len) if texts else json.dumps(payload, ensure_ascii=False)


def answer(example: AnswerExample) -> str:
    """Return an answer's fields with their values, in the order of its schema."""
    output, fields = example.output, example.fields
    ordered = [name for name in fields if name in output]
    ordered += [name for name in output if name not in fields]
    return ", ".join(f"{name}: {_value(output[name])}" for name in ordered)


def how(example: AnswerExample) -> str:
    """Return which lane answered and after how long, what became of the answer, and its cost."""
    parts = [f"{lane_name(example.first_lane)} after {seconds(example.first_s)}"]
    if example.standing is Standing.PROVISIONAL:
        parts.append("provisional until its batch ends")
    elif example.was:
        was = ", ".join(f"{name} was {_value(value)}" for name, value in example.was.items())
        after = f"corrected by {lane_name(example.lane)} after {seconds(example.current_s)}"
        parts.append(f"{after} ({plain(was, most=100)})")
    elif example.first_lane is Lane.REALTIME and example.lane is Lane.BATCH:
        parts.append(f"confirmed by batch after {seconds(example.current_s)}")
    else:
        parts.append("authoritative")
    return ", ".join([*parts, usd(example.cost_usd)])


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
