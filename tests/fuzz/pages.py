"""Hostile payloads, keys and answers in previews, pages, tables, exports and Slack messages: shown as text, without effect."""

import csv
import io
import json
import random
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

from rich.console import Console

from lanes.commands.preview import preview_item
from lanes.doors.item import read_submission
from lanes.errors import Refused
from lanes.ids import ItemId
from lanes.report.listing import FORMULA, Csv, Jsonl, table
from lanes.routing.forecast import LaneConditions
from lanes.routing.route import ArrivedItem
from lanes.routing.split import Splits
from lanes.settling.listing import Listed
from lanes.slack.wording import escape
from lanes.text import cell, code, plain, remove_quotes
from lanes.words import ItemState, Lane
from lanes.workload.context import ContextPart
from tests.conftest import NOON
from tests.examples import version
from tests.fuzz.senders import RandomMix, made
from tests.fuzz.verdicts import FuzzFault

AREA = "pages"
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
BARE_PIPE = re.compile(r"(?<!\\)(?:\\\\)*\|")
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}


class HostilePages:
    """Hostile inputs, shown in each place that shows inputs."""

    def __init__(self, seed: int, chance: random.Random, *, fragments: int) -> None:
        self._mixed, self._version = (
            RandomMix(seed, chance, fragments=fragments),
            version(realtime_pack=2),
        )

    def cases(self, number: int) -> list[str]:
        """Return `number` inputs."""
        return [made(self._mixed) for _ in range(number)]

    def faults(self, said: str) -> list[FuzzFault]:
        """Return the forbidden effects of an input in the places that show it."""
        try:
            return [
                FuzzFault("harmed", AREA, why, said)
                for why in [*_shown(said), *self._previewed(said)]
            ]
        except Exception as error:
            return [FuzzFault("crash", AREA, f"{type(error).__name__}: {error}", said)]

    def _previewed(self, said: str) -> list[str]:
        try:
            fields = json.loads(said)
            if not isinstance(fields, dict):
                return []
            given = read_submission("letters", fields, place="a:1", sent_at=NOON)
        except (ValueError, RecursionError, Refused):
            return []
        item = ArrivedItem(
            "letters",
            given.key or "a:1",
            given.payload,
            NOON,
            given.occurred_at or NOON,
            given.consumer,
            given.entity,
            given.urgent,
            given.lane,
            given.due_at,
        )
        size = len(json.dumps(given.payload).encode())
        told = preview_item(
            item,
            self._version,
            LaneConditions(Splits([])),
            keyed=given.key is not None,
            payload_bytes=size,
            context=[ContextPart(given.payload)],
            now=NOON,
        )
        wrong = [
            f"the price is {each.usd}"
            for each in told.lanes
            if not each.usd.is_finite() or each.usd < 0
        ]
        listed = _listed(given.key or "a:1", given.payload)
        return wrong + _exported(listed) + _tabled(listed)


def _shown(said: str) -> list[str]:
    """Return the faults of an input's text as escaped for a page, a terminal or Slack."""
    wrong: list[str] = []
    for text in (said, _unescaped(said)):
        markdown, inline, line, slack = cell(text), code(text), plain(text), escape(text)
        remove_quotes(f"the provider answered 400: {text}", [text])
        if (
            CONTROL.search("".join((markdown, inline, line, slack)))
            or "\n" in markdown + inline + line + slack
        ):
            wrong.append("a control character is shown")
        if "<" in markdown + slack or ">" in markdown + slack:
            wrong.append("a tag or a mention is shown")
        if (
            BARE_PIPE.search(markdown)
            or BARE_PIPE.search(inline)
            or inline.count("`") not in (0, 2)
        ):
            wrong.append("a cell of a table opens another")
        if "](" in markdown.replace("\\]", "") or "://" in markdown:
            wrong.append("a link is shown")
    return wrong


def _unescaped(said: str) -> str:
    """Return the texts of an input as Python reads them, joined, followed by the input as JSON."""
    try:
        return " ".join(re.findall(r".+", str(json.loads(f"[{said}]")[0]))) + json.dumps(said)
    except (ValueError, RecursionError):
        return said


def _listed(key: str, payload: dict[str, Any]) -> Listed:
    return Listed(
        item_id=ItemId(1),
        key=key,
        state=ItemState.SETTLED,
        lane=Lane.BATCH,
        standing="authoritative",
        generation=0,
        version=1,
        revision=0,
        output=payload,
        received_at=NOON,
        answered_at=NOON,
        settled_at=NOON,
        changed_at=NOON + timedelta(1),
        attempts=1,
        cost_usd=Decimal("0.1"),
        failure=key,
        consumer=key,
        entity=key,
        **_label(payload),
    )


def _label(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: payload for name in ("label",) if name in Listed.__dataclass_fields__}


def _exported(item: Listed) -> list[str]:
    wrong: list[str] = []
    export = Csv([SCHEMA])
    rows = list(csv.reader(io.StringIO(export.begin() + export.rows([item, item])), strict=True))
    if len(rows) != 3 or len({len(row) for row in rows}) != 1:
        wrong.append("a cell of an export opens a row or a column")
    if any(FORMULA.search(value) and not _is_number(value) for value in rows[1]):
        wrong.append("a cell of an export is a formula")
    lines = Jsonl().rows([item, item]).rstrip("\n").split("\n")
    if [json.loads(line)["key"] for line in lines] != [item.key] * 2:
        wrong.append("an exported line is not one line of JSON")
    return wrong


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _tabled(item: Listed) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=120, force_terminal=False, color_system=None).print(
        table([item], width=120)
    )
    return ["a control character reaches a terminal"] if CONTROL.search(out.getvalue()) else []
