"""The account's limits, read from the headers of a response. Pure functions that accept any header values."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

from lanes.routing.capacity import WINDOW, Limit, LimitKind

PREFIX = "anthropic-ratelimit-"
NAMES = {
    LimitKind.REQUESTS: "requests",
    LimitKind.INPUT: "input-tokens",
    LimitKind.OUTPUT: "output-tokens",
    LimitKind.TOKENS: "tokens",
}
PARTS = ("limit", "remaining", "reset")
MOST = 10**12  # a larger number is invalid
MOST_DIGITS = 30  # longest number in a header that is read
# The longest `retry-after` that we respect; callers have shorter limits of their own.
LONGEST_WAIT_S = 3_600.0


@dataclass(frozen=True)
class ToldLimits:
    """The plausible limits of an answer, and a note for each value that was ignored or corrected."""

    limits: list[Limit]
    notes: list[str]


def read_limits(headers: Mapping[str, str], *, now: datetime) -> ToldLimits:
    """Return the limits in the headers of an answer that arrived at `now`.

    Missing headers report no limit. Impossible values are ignored, with a note. A remainder above its limit counts as the whole
    limit, and a reset that is not within a minute counts as one in a minute, both with a note.

    Resets are in the provider's clock, so they are measured from its own `date` header.
    """
    by_name = _Known({name.lower(): value for name, value in headers.items()})
    limits, notes = [], []
    for kind in _kinds(by_name):
        try:
            limits.append(_limit(kind, by_name, now, notes))
        except ValueError as problem:
            notes.append(f"{PREFIX}{NAMES[kind]}: {problem}; it is ignored")
    return ToldLimits(limits, notes)


def retry_after_s(value: object) -> float | None:
    """Return the seconds that a `retry-after` header demands, at most `LONGEST_WAIT_S`; None if it is no number of seconds."""
    try:
        asked = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return min(asked, LONGEST_WAIT_S) if asked >= 0 else None


class _Known(dict[str, str]):
    """Headers by their lower-case names."""

    def part(self, kind: LimitKind, part: str) -> str | None:
        return self.get(f"{PREFIX}{NAMES[kind]}-{part}")


def _kinds(by_name: _Known) -> Iterator[LimitKind]:
    """Return the kinds of limits in the headers; the total of tokens is left out if input or output tokens have limits."""
    kinds = [
        kind for kind in LimitKind if any(by_name.part(kind, part) is not None for part in PARTS)
    ]
    apart = LimitKind.INPUT in kinds or LimitKind.OUTPUT in kinds
    return (kind for kind in kinds if not (kind is LimitKind.TOKENS and apart))


def _limit(kind: LimitKind, by_name: _Known, now: datetime, notes: list[str]) -> Limit:
    limit, remaining = (
        _number(by_name.part(kind, "limit"), "limit"),
        _number(by_name.part(kind, "remaining"), "remaining"),
    )
    if limit < 1:
        raise ValueError(f"a limit of {limit} a minute")
    if remaining > limit:
        notes.append(
            f"{PREFIX}{NAMES[kind]}: {remaining:,} remain of {limit:,}; the limit is believed"
        )
    reset = by_name.part(kind, "reset")
    fills = WINDOW if reset is None else _moment(reset) - _provider_now(by_name.get("date"), now)
    # The date header has no fractions of a second, hence the extra second.
    if not timedelta(0) <= fills <= WINDOW + timedelta(seconds=1):
        notes.append(
            f"{PREFIX}{NAMES[kind]}-reset: it is not within the minute that limits are told for"
        )
        fills = WINDOW
    return Limit(kind, limit, min(remaining, limit), now + min(fills, WINDOW), now)


def _number(value: str | None, name: str) -> int:
    text = (value or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS and int(text) <= MOST):
        raise ValueError(
            f"its {name} is missing" if value is None else f"its {name} is {text[:MOST_DIGITS]!r}"
        )
    return int(text)


@lru_cache(maxsize=64)
def _moment(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        raise ValueError(f"its reset is {value[:MOST_DIGITS]!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@lru_cache(maxsize=64)
def _date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _provider_now(date: str | None, now: datetime) -> datetime:
    return (_date(date) if date else None) or now
