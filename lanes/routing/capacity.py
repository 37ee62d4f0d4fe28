"""The provider's limits: the remaining capacity, the time that waiting work takes within it, and the predicted use of calls.

Each limit is modeled as a token bucket: it refills evenly and is full one minute after it was empty. If the provider uses a
window that refills all at once instead, the model is wrong for at most that window, and the next answer corrects it.

Source: Anthropic, "Rate limits": requests, input and output tokens a minute; `reset` is the time when the bucket is full.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from lanes.money.cost import FRAME_TOKENS, estimate_shared_tokens, tokens

if TYPE_CHECKING:  # `lanes status` reads figures without loading the code that publishes versions
    from lanes.workload.version import Spec

WINDOW = timedelta(minutes=1)  # a bucket refills within this time; no call is held back longer
WINDOW_S = WINDOW.total_seconds()
RESERVE = 0.2  # share of a limit that is reserved for urgent work


class LimitKind(StrEnum):
    """A quantity that the provider limits."""

    REQUESTS = "requests"
    INPUT = "input_tokens"  # excludes tokens read from the cache
    OUTPUT = "output_tokens"  # charged as `max_tokens` when a call starts, and as the answer's tokens once it ends
    TOKENS = "tokens"  # input and output together, where the provider does not separate them

    @property
    def label(self) -> str:
        """Return the display name."""
        return self.replace("_", " ")


class Need(NamedTuple):
    """The limit usage of `requests` calls: the requests and all of their tokens."""

    input: float
    output: float
    requests: float = 1

    def of(self, kind: LimitKind) -> float:
        """Return the amount that counts against one kind of limit."""
        match kind:
            case LimitKind.REQUESTS:
                return self.requests
            case LimitKind.INPUT:
                return self.input
            case LimitKind.OUTPUT:
                return self.output
            case LimitKind.TOKENS:
                return self.input + self.output

    def plus(self, other: "Need") -> "Need":
        """Return the sum."""
        return Need(
            self.input + other.input, self.output + other.output, self.requests + other.requests
        )

    def less(self, other: "Need") -> "Need":
        """Return the difference, at least 0."""
        return Need(
            max(0.0, self.input - other.input),
            max(0.0, self.output - other.output),
            max(0.0, self.requests - other.requests),
        )

    def times(self, number: float) -> "Need":
        """Return the need multiplied by `number`."""
        return Need(self.input * number, self.output * number, self.requests * number)


@dataclass(frozen=True, slots=True)
class Limit:
    """A per-minute limit as the provider reported it at `seen_at`: `remaining` at that time, full again at `reset_at`.

    Invariants: 1 <= limit, 0 <= remaining <= limit, and seen_at <= reset_at <= seen_at + WINDOW.
    """

    kind: LimitKind
    limit: int
    remaining: float
    reset_at: datetime
    seen_at: datetime

    def estimate_remaining(self, now: datetime) -> float:
        """Return the estimated amount left now: `remaining` plus the refill since `seen_at`, at most the limit."""
        if now >= self.reset_at:
            return self.limit
        return min(
            self.limit, self.remaining + self.per_s * max(0.0, (now - self.seen_at).total_seconds())
        )

    @property
    def per_s(self) -> float:
        """Return the amount that is refilled per second until the limit is full again."""
        whole_s = (self.reset_at - self.seen_at).total_seconds()
        if whole_s > 0:
            return min((self.limit - self.remaining) / whole_s, self.limit / WINDOW_S)
        return 0.0

    def refund(self, amount: float) -> "Limit":
        """Return the limit after the provider charged `amount` less than it had reserved."""
        return replace(self, remaining=min(self.limit, self.remaining + max(0.0, amount)))


@dataclass(frozen=True, slots=True)
class WaitingItems:
    """Items that wait for the real-time lane; `each` is one item's share of a call."""

    items: int
    each: Need


def drain_time_s(
    waiting: Sequence[WaitingItems], limits: Sequence[Limit], *, per_s: float | None, now: datetime
) -> float | None:
    """Return the seconds until all waiting items are answered, at `per_s` items a second and within every limit.

    None if neither a rate nor a limit is known; 0 if nothing waits.
    """
    items = sum(group.items for group in waiting)
    if items == 0:
        return 0.0
    durations_s: list[float] = []
    if per_s:
        durations_s.append(items / per_s)
    for limit in limits:
        total = sum(group.each.times(group.items).of(limit.kind) for group in waiting)
        durations_s.append(
            max(0.0, total - limit.estimate_remaining(now)) / (limit.limit / WINDOW_S)
        )
    return max(durations_s, default=None)


def compute_reserve(limit: Limit, need: float, *, presses: bool) -> float:
    """Return how much of a limit a call must leave to other calls: the reserve, or nothing if the call is urgent (`presses`).

    A call that needs more than the unreserved part of a full limit may use the reserve, so that it does not wait forever.
    """
    return 0.0 if presses else max(0.0, min(RESERVE * limit.limit, limit.limit - need))


def fits_at(limit: Limit, wanted: float, now: datetime) -> datetime:
    """Return when the limit will have the wanted amount if no other call uses it; at most one window from now."""
    short = wanted - limit.estimate_remaining(now)
    if short <= 0:
        return now
    until_seen_s = max(0.0, (limit.seen_at - now).total_seconds())
    wait_s = until_seen_s + short / limit.per_s if limit.per_s > 0 else WINDOW_S
    if wanted <= limit.limit:
        wait_s = min(wait_s, max(0.0, (limit.reset_at - now).total_seconds()))
    return now + timedelta(seconds=math.ceil(min(WINDOW_S, wait_s) * 1000) / 1000)


FEWEST = 20  # with fewer attempts, the workload's settings predict better
# the next answer's headers correct the estimate after larger calls
INPUT_QUANTILE, OUTPUT_QUANTILE = (0.9, 0.95)
# a learned ratio is clamped to these bounds
LOWEST, HIGHEST = (0.01, 10.0)


@dataclass(frozen=True, slots=True)
class MeasuredTry:
    """An answered attempt: the characters of its payload, the items of its call, and its share of the call's tokens."""

    characters: int
    items: int
    input: int  # excludes tokens read from the cache
    output: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted token usage of a call.

    The input is `frame` plus `input_ratio` times the estimate from the characters; `output` is the output tokens of one item.
    """

    input_ratio: float
    output: float
    frame: float = 0
    tries: int = 0

    def input_of(self, spec: "Spec", characters: int) -> float:
        """Return the input tokens of a call whose items have this many characters."""
        return self.frame + self.input_ratio * (estimate_shared_tokens(spec) + tokens(characters))

    def usual(self, spec: "Spec", characters: int, items: int) -> Need:
        """Return the predicted usage of a call with `items` items once the call has ended."""
        return Need(self.input_of(spec, characters), self.output * items)


def assume_prediction(spec: "Spec") -> Prediction:
    """Return the prediction for a workload without measurements: a frame around each request, plus the expected output."""
    return Prediction(1.0, spec.expected_output_tokens, FRAME_TOKENS)


def learn(spec: "Spec", tries: Sequence[MeasuredTry]) -> Prediction:
    """Return the prediction from a workload's newest attempts: quantiles, so that few calls use more than predicted."""
    if len(tries) < FEWEST:
        return assume_prediction(spec)
    shared = estimate_shared_tokens(spec)
    ratios = [
        each.input / max(1.0, shared / max(1, each.items) + tokens(each.characters))
        for each in tries
    ]
    ratio = min(HIGHEST, max(LOWEST, quantile(ratios, INPUT_QUANTILE)))
    return Prediction(
        ratio, quantile([float(each.output) for each in tries], OUTPUT_QUANTILE), tries=len(tries)
    )


def quantile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least the fraction `part` of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
