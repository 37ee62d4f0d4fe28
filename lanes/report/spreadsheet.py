"""Cells that a spreadsheet shows as they are: nothing in them is a formula, and no control character does anything.

What begins like a formula gets an apostrophe in front, as in https://owasp.org/www-community/attacks/CSV_Injection; so
does what follows a line break or a semicolon, because a spreadsheet that parts cells there begins a new one.
"""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from lanes.text import CONTROLS

UNSEEN = r"[^\S\n]|[\u200b-\u200f\u2060\ufeff]"  # what some programs drop from the front of a cell
FORMULA = re.compile(rf"(\A|[;\n])((?:{UNSEEN})*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def cell(value: Any) -> str | int | float:
    """Numbers as they are, moments in UTC, lists and objects as JSON, nothing for None, text made harmless."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int() | float():
            return value
        case Decimal():
            return f"{value.normalize():f}"
        case datetime():
            return value.astimezone(UTC).isoformat()
        case str():
            return harmless(value)
        case _:
            return harmless(json.dumps(value, ensure_ascii=False))


def harmless(text: str) -> str:
    """The text with line breaks as line feeds, a blank for each other control character, and no formula in it."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return FORMULA.sub(r"\1'\2", CONTROLS.sub(" ", lines.replace("\t", " ")))
