"""An input as a door reads it: checked here, admitted by the database function `lanes.admit`.

JSON that describes no item is refused as `malformed` and stored in `rejected_log`. Text that is not JSON never gets here:
Prefect answers it with 422 and creates no event, `filedoor` refuses the line, and in SQL the sender's cast fails.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from lanes.errors import Refused
from lanes.json_data import why_unstorable
from lanes.units import pluralize, usd
from lanes.words import Lane

KEY_LIMIT = 512  # characters of a key, consumer or entity
FIELDS = [
    "key",
    "payload",
    "due_at",
    "due_in_s",
    "occurred_at",
    "urgent",
    "consumer",
    "entity",
    "lane",
    "ack",
    "job",
    "traceparent",
]
KNOWN = frozenset(FIELDS)
# text fields of a row; its times and flags are handled separately
TEXTS = ("workload", "payload", "place", "key", "consumer", "entity", "lane", "job", "traceparent")
MOST_USD = 1e9
AMENDING = ("key", "payload", "occurred_at")
MOST_NAMED = 5  # unknown fields that a refusal names
LONGEST_NAMED = 40  # characters of each name
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# The same format as in `lanes.is_a_moment`; a time without an offset is UTC. The pattern cannot check that the day exists.
MOMENT = re.compile(
    "[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
    "(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?|[+-](0[0-9]|1[0-5]):[0-5][0-9]:[0-5][0-9])?)?"
)


@dataclass(frozen=True)
class Submission:
    """One well-formed input that is not admitted yet. Times are aware; `place` identifies it within its source.

    `traceparent` is a hint, which `lanes.trace_context` reads.
    """

    workload: str
    payload: dict[str, Any]
    place: str
    key: str | None = None
    due_at: datetime | None = None
    occurred_at: datetime | None = None
    urgent: bool = False
    consumer: str | None = None
    entity: str | None = None
    lane: Lane | None = None
    ack: bool = False
    job: str | None = None
    traceparent: str | None = None

    def as_row(self) -> dict[str, Any]:
        """Return the JSON object for `lanes.admit`, without missing fields."""
        row: dict[str, Any] = {}
        for name in TEXTS:
            if (value := getattr(self, name)) is not None:
                row[name] = value
        for name in ("due_at", "occurred_at"):
            if (moment := getattr(self, name)) is not None:
                row[name] = moment.isoformat()
        for name in ("urgent", "ack"):
            if getattr(self, name):
                row[name] = True
        return row


@dataclass(frozen=True)
class JobOrder:
    """A job that is sent as a whole. Its digest tells whether the same job is sent again.

    If another job has its name, it is named `otherwise`, or refused if that is None.
    """

    name: str
    digest: bytes
    due_at: datetime | None = None
    budget_usd: Decimal | None = None
    otherwise: str | None = None

    def check_quote(self, items: int, quoted_usd: Decimal) -> None:
        """Check that the quote of these items does not exceed the budget.

        Raises:
            Refused: the quote exceeds the budget.
        """
        if self.budget_usd is not None and quoted_usd > self.budget_usd:
            quote = f"{usd(quoted_usd)} for {pluralize(items, 'item')}"
            message = f'job "{self.name}" is quoted at {quote}, above its budget of {usd(self.budget_usd)}'
            raise Refused("job_budget", f"{message}; raise the budget, or send less")


def read_budget(value: object) -> Decimal | None:
    """Return the budget of a job, or None if there is none.

    Raises:
        Refused: the value is not a valid amount.
    """
    if value is None:
        return None
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        amount = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
        if amount.is_finite() and 0 <= amount <= MOST_USD:
            return amount
    raise Refused("malformed", "a job's budget must be 0 to 1,000,000,000 US dollars")


@dataclass(frozen=True)
class Admission:
    """The outcome of one input: accepted, duplicate, or the reason for its refusal. `key` identifies the item."""

    outcome: str
    detail: str | None
    key: str | None

    @property
    def is_admitted(self) -> bool:
        """Whether the item exists now."""
        return self.outcome in ("accepted", "duplicate")


@dataclass(frozen=True)
class Refusal:
    """An input that is not well-formed. `key` is the key that it came with, if one could be read."""

    workload: str | None
    place: str
    reason: str
    detail: str
    content: str
    key: str | None = None


def read_submission(
    workload: str, fields: Mapping[str, Any], *, place: str, sent_at: datetime
) -> Submission:
    """Return the submission that an event's payload or a file's line describes.

    `due_in_s` counts from `sent_at`; a naive time is UTC, and times must lie in the years 2 to 9998.

    Raises:
        Refused: reason `malformed`; the message names the field and its valid values.
    """
    _check_storable(workload, "the workload's name")
    if unknown := fields.keys() - KNOWN:
        raise _refuse(f"unknown field {_format_names(unknown)}; allowed are {', '.join(FIELDS)}")
    payload = fields.get("payload")
    if not isinstance(payload, dict):
        raise _refuse('"payload" must be a JSON object')
    _check_storable(payload, "payload")
    due_at = _time(fields, "due_at")
    if fields.get("due_in_s") is not None:
        if due_at is not None:
            raise _refuse('give "due_at" or "due_in_s", not both')
        seconds = fields["due_in_s"]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise _refuse('"due_in_s" must be a number of seconds')
        try:
            due_at = _within_calendar(sent_at + timedelta(seconds=seconds))
        except (OverflowError, ValueError):
            raise _refuse('"due_in_s" lies beyond the calendar') from None
    return Submission(
        workload=workload,
        payload=payload,
        place=place,
        key=_text(fields, "key"),
        due_at=due_at,
        occurred_at=_time(fields, "occurred_at"),
        urgent=_flag(fields, "urgent"),
        consumer=_text(fields, "consumer"),
        entity=_text(fields, "entity"),
        lane=_lane(fields),
        ack=_flag(fields, "ack"),
        job=_text(fields, "job"),
        traceparent=_hint(fields, "traceparent"),
    )


class AmendmentOutcome(StrEnum):
    """The outcome of an amendment that a door accepted and whose item exists."""

    AMENDED = "amended"  # its payload is in force
    DUPLICATE = "duplicate"  # its payload was already in force
    OUTDATED = "outdated"  # the amendment in force occurred later; this one is stored
    CANCELED = "canceled"  # its item was withdrawn


@dataclass(frozen=True)
class Amendment:
    """Late data for an item: its payload from then on. `place` identifies it within its source.

    Of two amendments the one that occurred later is in force, in whichever order they are read. None: it occurs on admission.
    """

    workload: str
    key: str
    payload: dict[str, Any]
    place: str | None = None
    occurred_at: datetime | None = None


def read_amendment(
    workload: str, fields: Mapping[str, Any], *, place: str | None, sent_at: datetime | None = None
) -> Amendment:
    """Return the amendment that an event's payload describes: `{key, payload, occurred_at}`.

    Without `occurred_at`, it occurred when it was sent.

    Raises:
        Refused: reason `malformed`; the message names the field and its valid values.
    """
    _check_storable(workload, "the workload's name")
    if unknown := fields.keys() - set(AMENDING):
        named = _format_names(unknown)
        raise _refuse(f"unknown field {named}; an amendment holds key, payload and occurred_at")
    key, payload = _text(fields, "key"), fields.get("payload")
    if key is None:
        raise _refuse("an amendment needs the key of its item")
    if not isinstance(payload, dict):
        raise _refuse('"payload" must be a JSON object')
    _check_storable(payload, "payload")
    return Amendment(workload, key, payload, place, _time(fields, "occurred_at") or sent_at)


def _refuse(detail: str) -> Refused:
    return Refused("malformed", detail)


def _format_names(unknown: Iterable[str]) -> str:
    """Format up to `MOST_NAMED` field names for a sentence, in the key order of jsonb, as `lanes.field_names` does."""
    ordered = sorted(unknown, key=lambda name: (len(name.encode("utf-8", "surrogatepass")), name))
    shown = (CONTROL.sub("?", name[:LONGEST_NAMED]) for name in ordered[:MOST_NAMED])
    return ", ".join(f'"{name}"' for name in shown)


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > KEY_LIMIT:
        raise _refuse(f'"{name}" must be a text of 1 to {KEY_LIMIT} characters')
    _check_storable(value, name)
    return value


def _hint(fields: Mapping[str, Any], name: str) -> str | None:
    """Return an optional text, or None if the value is not a text or cannot be stored; dropping it does no harm."""
    value = fields.get(name)
    is_text = isinstance(value, str) and why_unstorable(value, name) is None
    return value if is_text else None


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _refuse(f'"{name}" must be true or false')
    return value


def _lane(fields: Mapping[str, Any]) -> Lane | None:
    value = fields.get("lane")
    if value is None:
        return None
    try:
        return Lane(value)
    except ValueError:
        raise _refuse(f'"lane" must be {" or ".join(Lane)}') from None


def _time(fields: Mapping[str, Any], name: str) -> datetime | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, str) and not MOMENT.fullmatch(value):
            raise ValueError
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return _within_calendar(moment.astimezone(UTC))
    except (TypeError, ValueError, OverflowError):
        message = f'"{name}" must be an ISO 8601 time, for example 2026-12-01T09:00:00Z'
        raise _refuse(message) from None


def _within_calendar(moment: datetime) -> datetime:
    """Return the moment, which must be a day away from both ends of the calendar, so that zones and spans stay within it.

    Raises:
        OverflowError: the moment is too close to an end of the calendar.
    """
    if not 1 < moment.year < 9999:
        raise OverflowError
    return moment


def _check_storable(value: Any, where: str) -> None:
    if (problem := why_unstorable(value, where)) is not None:
        raise _refuse(problem)
