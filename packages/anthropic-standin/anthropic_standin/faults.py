"""Faults on request: rules that make the stand-in fail in the ways of the real API."""

from __future__ import annotations

import dataclasses
import itertools
import random
import threading
from dataclasses import dataclass
from typing import Any

from anthropic_standin.composing import SPOILING
from anthropic_standin.errors import ApiError, invalid

ANSWERING = frozenset({"status", "drop", "latency"})
KINDS: dict[str, frozenset[str]] = {
    "messages": ANSWERING | SPOILING | {"cut", "stall"},
    "batches.create": ANSWERING | {"stall", "expire"},
    "batches.retrieve": ANSWERING | {"archive"},
    "batches.list": ANSWERING,
    "batches.results": ANSWERING | {"cut", "short"},
    "organizations": ANSWERING,
    "bill": frozenset({"omit", "repeat", "foreign"}),  # changes the report of a message
    "batch_request": ANSWERING | SPOILING | {"stall", "expire", "lose"},
}


@dataclass(slots=True)
class FaultRule:
    """A fault: its place, its kind, its frequency (`times`, `rate`) and the requests that it affects.

    `match` is a part of the text; `above_items` limits the rule to packs of more items.
    """

    id: int
    where: str
    kind: str
    status: int = 500
    error_type: str | None = None
    error_code: str | None = None
    message: str = "Failed by a fault rule of the local stand-in"
    retry_after_s: float | None = None
    latency_s: float = 0.0
    times: int | None = None
    rate: float = 1.0
    match: str = ""
    after_lines: int = 1
    above_items: int = 0
    hits: int = 0

    def error(self) -> ApiError:
        """Return the error answer of a rule of kind `status`."""
        return ApiError(
            self.status,
            self.message,
            kind=self.error_type,
            code=self.error_code,
            retry_after_s=self.retry_after_s,
        )


NUMBERS = frozenset(
    {"status", "retry_after_s", "latency_s", "times", "rate", "after_lines", "above_items"}
)
SPECIFIABLE = {field.name for field in dataclasses.fields(FaultRule)} - {"id", "hits"}


class Faults:
    """The rules in force. They are kept in memory, so a restart forgets them. All methods are safe to use from any thread."""

    def __init__(self) -> None:
        self._rules: list[FaultRule] = []
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self.generation = 0
        """Rises whenever the rules are cleared: what a rule held back is then free."""

    def add(self, spec: object) -> FaultRule:
        """Add a rule; ApiError 400 names an invalid field."""
        if not isinstance(spec, dict):
            raise invalid("A fault rule should be an object with at least `where` and `kind`")
        unknown = sorted(set(spec) - SPECIFIABLE)
        if unknown:
            raise invalid(
                f"{unknown[0]}: a fault rule has no such field; it has {', '.join(sorted(SPECIFIABLE))}"
            )
        if spec.get("where") not in KINDS:
            raise invalid(f"where: {spec.get('where')!r} should be one of {', '.join(KINDS)}")
        kinds = KINDS[spec["where"]]
        if spec.get("kind") not in kinds:
            raise invalid(
                f"kind: {spec.get('kind')!r} should, at {spec['where']}, be one of {', '.join(sorted(kinds))}"
            )
        for name in NUMBERS & spec.keys():
            if spec[name] is not None and (
                isinstance(spec[name], bool) or not isinstance(spec[name], int | float)
            ):
                raise invalid(f"{name}: {spec[name]!r} should be a number")
        rule = FaultRule(
            id=next(self._ids), **{name: value for name, value in spec.items() if name != "id"}
        )
        with self._lock:
            self._rules = [*self._rules, rule]
        return rule

    def take(self, where: str, text: str | bytes | bytearray = "") -> list[FaultRule]:
        """Return the rules that apply here, and count their hits: every delay, and at most one other fault."""
        if not self._rules:
            return []
        struck: list[FaultRule] = []
        with self._lock:
            for rule in self._rules:
                if rule.where != where or (rule.times is not None and rule.hits >= rule.times):
                    continue
                if rule.kind != "latency" and any(one.kind != "latency" for one in struck):
                    continue
                if rule.match and not _contains(text, rule.match):
                    continue
                if rule.above_items and _items(text) <= rule.above_items:
                    continue
                if rule.rate < 1 and random.random() >= rule.rate:
                    continue
                rule.hits += 1
                struck.append(rule)
        return struck

    def clear(self) -> None:
        """Remove all rules, and release the stalled requests."""
        with self._lock:
            self._rules = []
            self.generation += 1

    def view(self) -> list[dict[str, Any]]:
        """Return every rule with its hits."""
        return [dataclasses.asdict(rule) for rule in self._rules]


def _items(text: str | bytes | bytearray) -> int:
    """Return the number of items in a packed message, or 0 for other messages."""
    return text.count("<item id=") if isinstance(text, str) else text.count(b"<item id=")


def _contains(text: str | bytes | bytearray, part: str) -> bool:
    return part in text if isinstance(text, str) else part.encode() in text
