"""What differs between two definitions, as lines for a terminal."""

import json
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from typing import Any

from rich.text import Text

from lanes.text import plain
from lanes.units import counted
from lanes.workload.definition import ABSENT, FieldDifference

MOST = 160  # characters of a value
MOST_LINES = 40  # of one field


def lines(found: Sequence[FieldDifference]) -> Iterator[Text]:
    """Each field with what it said and says: a text by its lines, a list by what came and went."""
    for each in found:
        parts = [*_parts(each.before, each.after)]
        if len(parts) == 1:
            yield Text.assemble("  ", (plain(each.field), "bold"), ": ", parts[0])
            continue
        yield Text.assemble("  ", (plain(each.field), "bold"), ":")
        yield from (Text.assemble("    ", part) for part in parts[:MOST_LINES])
        if len(parts) > MOST_LINES:
            yield Text(f"    ... and {counted(len(parts) - MOST_LINES, 'line')} more", "dim")


def _parts(before: Any, after: Any) -> Iterator[Text]:
    if isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        for line in [*unified_diff(before.splitlines(), after.splitlines(), n=1, lineterm="")][2:]:
            yield Text("...", "dim") if line.startswith("@@") else _line(line[:1], line[1:])
        if before.splitlines() == after.splitlines():
            yield Text("the end of a line")
    elif isinstance(before, list) and isinstance(after, list):
        went = [each for each in before if each not in after]
        came = [each for each in after if each not in before]
        yield from (_line("-", _shown(each)) for each in went)
        yield from (_line("+", _shown(each)) for each in came)
        if not went and not came:
            yield Text(f"{_shown(before)} -> {_shown(after)}")
    elif before is ABSENT:
        yield _line("+", _shown(after))
    elif after is ABSENT:
        yield _line("-", _shown(before))
    else:
        yield Text(f"{_shown(before)} -> {_shown(after)}")


def _line(sign: str, text: str) -> Text:
    return Text(f"{sign} {plain(text, most=MOST)}", {"-": "red", "+": "green"}.get(sign, "dim"))


def _shown(value: Any) -> str:
    if isinstance(value, str) and "\n" in value.strip():
        return f"{plain(value, most=80)} ({counted(len(value.splitlines()), 'line')})"
    return plain(json.dumps(value, ensure_ascii=False), most=MOST)
