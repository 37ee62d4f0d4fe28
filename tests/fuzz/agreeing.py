"""The comparison of the doors: one input, each door's verdict on it, and their differences."""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lanes.doors.item import FIELDS, MOMENT
from tests.fuzz.verdicts import FuzzFault

AREA = "doors"
SIZE = re.compile("has [0-9]+ bytes")
ROUNDED = re.compile("[.][0-9]{7}")
ARGUMENTS = ("key", "consumer", "entity", "lane", "job", "traceparent")


@dataclass(frozen=True)
class DoorVerdict:
    """A door's verdict on an input: the stored item, or the reason and the message of its refusal."""

    outcome: str
    told: object

    @property
    def accepted(self) -> bool:
        return self.outcome == "accepted"


@dataclass
class Input:
    """An input and each door's verdict on it; a door that the input does not reach has no verdict."""

    said: str
    is_jsonb: bool = False
    reads_as_jsonb: bool = False  # as Python reads it: only the last value of a repeated name
    value: Any = None
    is_json: bool = False
    verdicts: dict[str, DoorVerdict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self.value = json.loads(self.said)
            self.is_json = True
        except (ValueError, RecursionError):
            self.is_json = False

    @property
    def fields(self) -> dict[str, Any] | None:
        return self.value if self.is_json and isinstance(self.value, dict) else None

    @property
    def is_line(self) -> bool:
        """Return whether the input, as a line of a file, has the fields of an event."""
        fields = self.fields
        return (
            fields is not None
            and isinstance(fields.get("payload"), dict)
            and set(fields) <= {*FIELDS, "label"}
        )

    @property
    def is_typed(self) -> bool:
        """Return whether the fields fit the typed arguments of `lanes.submit`."""
        fields = self.fields
        if (
            fields is None
            or not self.is_jsonb
            or not set(fields) <= {*ARGUMENTS, "urgent", "due_at", "occurred_at", "payload"}
        ):
            return False
        texts = all(isinstance(fields.get(name), str | None) for name in ARGUMENTS)
        moments = all(_is_moment(fields.get(name)) for name in ("due_at", "occurred_at"))
        return texts and moments and isinstance(fields.get("urgent"), bool | None)

    @property
    def row(self) -> list[str] | None:
        """Return the input as a CSV row of a key, a time and a text, or None when it cannot be one."""
        fields = self.fields
        if fields is None or not set(fields) <= {"key", "occurred_at", "payload"}:
            return None
        if not isinstance(fields.get("payload"), dict):
            return None
        said = [fields.get("key"), fields.get("occurred_at"), fields["payload"].get("text")]
        if set(fields["payload"]) != {"text"} or not all(
            isinstance(each, str | None) for each in said
        ):
            return None
        whole = "".join(filter(None, said))
        if "" in said or not (said[2] or "").strip() or "\r" in whole or not _is_unicode(whole):
            return None
        return [each or "" for each in said]


def _is_moment(said: object) -> bool:
    """Return whether a caller's cast to `timestamptz` for `lanes.submit` reads the text as the doors do."""
    if said is None:
        return True
    if not isinstance(said, str) or not MOMENT.fullmatch(said) or ROUNDED.search(said):
        return False
    try:
        return datetime.fromisoformat(said).year > 1
    except ValueError:
        return False


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def apart(said: Sequence[str], neighbours: Collection[str]) -> list[list[str]]:
    """Split the inputs into lists in which no key occurs twice: other tests cover key conflicts.

    SQL also reads inputs that are nested too deeply for Python: each of these gets a list of its own.
    """
    lists: list[tuple[set[str], list[str]]] = []
    alone: list[list[str]] = []
    for each in said:
        try:
            key = _key(each)
        except RecursionError:
            alone.append([each])
            continue
        free = next((one for one in lists if key is None or key not in one[0]), None)
        if free is None:
            free = (set(neighbours), [])
            lists.append(free)
        free[0].update([key] if key is not None else [])
        free[1].append(each)
    return [*(some for _, some in lists), *alone]


def _key(said: str) -> str | None:
    """Return the key that any door reads; SQL also reads integers that have too many digits for Python.

    Raises:
        RecursionError: the input is nested too deeply for Python.
    """
    try:
        value = json.loads(said, parse_int=str)
    except ValueError:
        return None
    key = value.get("key") if isinstance(value, dict) else None
    return None if key is None else str(key)[:600]


def compared(each: Input) -> list[FuzzFault]:
    verdicts = dict(each.verdicts)
    lost = [door for door, verdict in verdicts.items() if verdict.outcome == "lost"]
    if lost:
        return [FuzzFault("crash", AREA, f"neither item nor refusal: {', '.join(lost)}", each.said)]
    if "lines" in verdicts and not each.is_line:
        del verdicts["lines"]  # the whole line is a payload, or is not JSON
    if not (each.is_jsonb and each.is_json) and not each.reads_as_jsonb:
        taken = [
            door
            for door, verdict in verdicts.items()
            if verdict.accepted and not (door == "list" and each.is_jsonb)
        ]
        why = f"no JSON that every reader takes, but accepted by {', '.join(taken)}"
        return [FuzzFault("disagrees", AREA, why, each.said)] if taken else []
    if {verdict.outcome for verdict in verdicts.values()} == {
        "accepted",
        "payload_too_large",
    } and _holds_float(each.value):
        return []  # its size is near the limit, and the doors write numbers differently
    if len({_comparable(door, verdict) for door, verdict in verdicts.items()}) > 1:
        told = "".join(
            f"\n    {door}: {verdict.outcome}: {verdict.told!s:.300}"
            for door, verdict in verdicts.items()
        )
        return [FuzzFault("disagrees", AREA, told, each.said)]
    return []


def _holds_float(value: object) -> bool:
    match value:
        case dict():
            return any(map(_holds_float, value.values()))
        case list():
            return any(map(_holds_float, value))
        case _:
            return isinstance(value, float)


def _comparable(door: str, verdict: DoorVerdict) -> str:
    """Return the part of a verdict that all doors must share; numbers are compared by value."""
    if verdict.accepted:
        told = json.dumps(verdict.told, sort_keys=True, default=str, allow_nan=False)
        return json.dumps(
            json.loads(told, parse_int=float)
        )  # 1e2 is 100 to SQL, and 100.0 to Python
    said = f"{verdict.outcome}: {verdict.told}".replace(f'workload "{door}"', "the workload")
    return SIZE.sub("its size", said).partition("; allowed are")[0]
