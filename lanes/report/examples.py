"""Examples for a terminal: what was asked, what was answered, and what that took."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lanes.report.summary import lane_name
from lanes.settling.listing import AnswerExample
from lanes.text import plain
from lanes.units import counted, seconds, usd
from lanes.words import Lane, Standing

NUMBERS = ("", "One answer", "Two answers", "Three answers", "Four answers", "Five answers")
SHOWN = 180  # characters of an input and of an answer, two lines of a terminal


def render(examples: Sequence[AnswerExample]) -> RenderableType:
    """Each example with its item, input, answer and way. What came from items is shown as text, whatever it holds."""
    number = len(examples)
    title = NUMBERS[number] if number < len(NUMBERS) else counted(number, "answer")
    lines = Table.grid(padding=(0, 1))
    lines.add_column(justify="right", no_wrap=True)
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for place, each in enumerate(examples, 1):
        lines.add_row(
            f"{place}",
            "item",
            Text.assemble((plain(each.workload, most=40), "bold"), " ", plain(each.key, most=60)),
        )
        lines.add_row("", "input", Text(plain(asked(each.payload), most=SHOWN)))
        lines.add_row(
            "", "answer", Text(plain(said(each.output, each.fields), most=SHOWN), style="green")
        )
        lines.add_row("", "how", Text(how(each)))
    return Group(Text(f"{title} of this run", style="bold"), lines)


def asked(payload: Mapping[str, Any]) -> str:
    """What an item says: its longest text, or all of it where it holds none."""
    texts = [value for value in payload.values() if isinstance(value, str)]
    return max(texts, key=len) if texts else json.dumps(payload, ensure_ascii=False)


def said(output: Mapping[str, Any], fields: Sequence[str]) -> str:
    """An answer's fields with their values, in the order of its schema."""
    ordered = [name for name in fields if name in output] + [
        name for name in output if name not in fields
    ]
    return ", ".join(f"{name}: {_value(output[name])}" for name in ordered)


def how(example: AnswerExample) -> str:
    """Which lane gave the answer, how long after the item came, what became of it, and what that cost."""
    parts = [f"{lane_name(example.first_lane)} after {seconds(example.first_s)}"]
    if example.standing is Standing.PROVISIONAL:
        parts.append("provisional: its authoritative pass in a batch is still to come")
    elif example.was:
        was = plain(
            ", ".join(f"{name} was {_value(value)}" for name, value in example.was.items()),
            most=100,
        )
        parts.append(
            f"corrected by {lane_name(example.lane)} after {seconds(example.current_s)} ({was})"
        )
    elif example.first_lane is Lane.REALTIME and example.lane is Lane.BATCH:
        parts.append(f"confirmed by batch after {seconds(example.current_s)}")
    else:
        parts.append("authoritative")
    return ", ".join([*parts, usd(example.cost_usd)])


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
