"""Rate limits: the headers of every answer, and real limits on requests and tokens where they are set.

As in the API, each limit is a bucket that refills evenly: an empty bucket is full after a minute, and `reset` is the time at
which it is full. Output is charged from `max_tokens` when a call begins, and corrected by the answer once the call ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from anthropic_standin.errors import ApiError
from anthropic_standin.wire import rfc3339

WINDOW_S = 60.0
REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS = 1_000_000, 1_000_000_000, 100_000_000
ROUNDED_TO = 1000  # for remaining tokens, if the limit is at least 100 times as large


@dataclass(slots=True)
class EndpointSettings:
    """The settings that can be changed while the stand-in runs."""

    turnaround_s: float = 2.0
    """A batch is worked off evenly over this time and does not end before it."""
    latency_s: float = 0.0
    """Added to every answer of POST /v1/messages."""
    requests_per_minute: float | None = None
    """Beyond it POST /v1/messages answers 429; None: no limit."""
    input_tokens_per_minute: float | None = None
    """The same for input tokens that no prompt cache served."""
    output_tokens_per_minute: float | None = None
    """The same for output tokens."""
    batch_cache_hits: float = 1.0
    """Which part of a batch's requests that mark a prompt, 0 to 1, comes where earlier batches' and calls' are cached."""
    batch_own_hits: float = 0.0
    """Which part of these also finds what other requests of its own batch wrote; users measured none."""
    clock_ahead_s: float = 0.0
    """How far its clock is ahead of this machine's: what happens from now on happens at that time."""


LIMITS = ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute")


@dataclass(slots=True)
class Charge:
    """The tokens charged to a call when it began."""

    input_tokens: int = 0
    output_tokens: int = 0


class Bucket:
    """A limit per minute that refills evenly."""

    def __init__(self, name: str, said: str, unlimited: int) -> None:
        self.header, self._said, self._unlimited = (
            f"anthropic-ratelimit-{name}".encode(),
            said,
            unlimited,
        )
        self._rounds = name != "requests"
        self._size, self._left, self._at = float(unlimited), float(unlimited), 0.0
        self._set: float | None = None
        self._reset: tuple[int, bytes] = (-1, b"")

    def fill(self, rate: float | None, now: float) -> None:
        """Refill the bucket for the time since the last call; a changed limit begins full."""
        if rate != self._set:
            self._set, self._size = rate, self._unlimited if rate is None else rate
            self._left = self._size
        self._left = min(self._size, self._left + max(0.0, now - self._at) * self._size / WINDOW_S)
        self._at = now

    def wait_s(self, amount: float) -> float:
        """Return the seconds until `amount` is available, or 0 if it already is."""
        return (
            max(0.0, amount - self._left) * WINDOW_S / self._size if self._set is not None else 0.0
        )

    def take(self, amount: float) -> None:
        """Take `amount` from the bucket; a negative amount is returned to it."""
        self._left = min(self._size, self._left - amount)

    def refusal(self, wait_s: float) -> ApiError:
        """Return the 429 error, with the seconds to wait."""
        message = (
            f"This request would exceed the rate limit of {self._size:g} {self._said} per minute"
        )
        return ApiError(429, message, retry_after_s=math.ceil(wait_s))

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers for limit, remaining and reset.

        Large limits round the remaining tokens down to thousands.
        """
        left = max(0, int(self._left))
        if self._rounds and self._size >= 100 * ROUNDED_TO:
            left = left // ROUNDED_TO * ROUNDED_TO
        full_at = self._at + (self._size - self._left) * WINDOW_S / self._size
        return [
            (self.header + b"-limit", b"%d" % self._size),
            (self.header + b"-remaining", b"%d" % left),
            (self.header + b"-reset", self._written(full_at)),
        ]

    def _written(self, moment: float) -> bytes:
        """Return the time in RFC 3339, to the millisecond, or to the second if no limit is set.

        The text of an unchanged time is reused.
        """
        millis = math.ceil(moment) * 1000 if self._set is None else math.ceil(moment * 1000)
        if self._reset[0] != millis:
            self._reset = millis, rfc3339(millis / 1000).encode()
        return self._reset[1]


class AccountLimits:
    """The three buckets of the account; `refused` counts the refused requests."""

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings, self.refused = settings, 0
        self._requests = Bucket("requests", "requests", REQUESTS)
        self._input = Bucket("input-tokens", "input tokens", INPUT_TOKENS)
        self._output = Bucket("output-tokens", "output tokens", OUTPUT_TOKENS)

    @property
    def count_tokens(self) -> bool:
        """Whether tokens are limited, so that a call's tokens must be counted before it is admitted."""
        return (
            self._settings.input_tokens_per_minute is not None
            or self._settings.output_tokens_per_minute is not None
        )

    def admit(self, now: float, input_tokens: int = 0, max_tokens: int = 0) -> Charge:
        """Charge the request; ApiError 429 with the seconds to wait if it exceeds a limit."""
        self._fill(now)
        needs = (self._requests, 1), (self._input, input_tokens), (self._output, max_tokens)
        wait_s, scarce = max(
            ((bucket.wait_s(need), bucket) for bucket, need in needs), key=lambda each: each[0]
        )
        if wait_s > 0:
            self.refused += 1
            raise scarce.refusal(wait_s)
        for bucket, need in needs:
            bucket.take(need)
        return Charge(input_tokens, max_tokens)

    def spend(self, charge: Charge, input_tokens: int, output_tokens: int) -> None:
        """Correct the charge of an answered request; tokens read from the prompt cache do not count."""
        self._input.take(input_tokens - charge.input_tokens)
        self._output.take(output_tokens - charge.output_tokens)

    def headers(self, now: float) -> list[tuple[bytes, bytes]]:
        """Return the nine rate-limit headers."""
        self._fill(now)
        return [*self._requests.headers(), *self._input.headers(), *self._output.headers()]

    def _fill(self, now: float) -> None:
        for bucket, name in zip((self._requests, self._input, self._output), LIMITS, strict=True):
            bucket.fill(getattr(self._settings, name), now)
