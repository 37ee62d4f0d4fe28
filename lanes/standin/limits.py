"""Rate limits: the headers of every answer, and a real limit on requests when one is set."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lanes.standin.errors import ApiError
from lanes.standin.wire import rfc3339

WINDOW_S = 60.0
REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS = 1_000_000, 1_000_000_000, 100_000_000


@dataclass(slots=True)
class Settings:
    """What can be changed while the stand-in runs."""

    turnaround_s: float = 2.0
    """A batch is worked off evenly over this time and does not end before it."""
    latency_s: float = 0.0
    """Added to every answer of POST /v1/messages."""
    requests_per_minute: float | None = None
    """Beyond it POST /v1/messages answers 429; None: no limit."""
    clock_ahead_s: float = 0.0
    """How far its clock is ahead of this machine's: what happens from now on happens at that time."""


class Limits:
    """Counts requests and tokens per minute; a token bucket enforces `requests_per_minute` when it is set."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._window_end = 0.0
        self._requests = self._input_tokens = self._output_tokens = 0
        self._bucket, self._filled_at, self._filled_for = 0.0, 0.0, 0.0
        self._reset = b""

    def admit(self, now: float) -> None:
        """The request counts; ApiError 429 with the seconds to wait when none is left."""
        rate = self._settings.requests_per_minute
        if rate is not None:
            if self._filled_for != rate:
                self._bucket, self._filled_at, self._filled_for = rate, now, rate
            self._bucket = min(rate, self._bucket + max(0.0, now - self._filled_at) * rate / 60)
            self._filled_at = now
            if self._bucket < 1:
                wait = math.ceil((1 - self._bucket) * 60 / rate)
                raise ApiError(
                    429,
                    f"This request would exceed the rate limit of {rate:g} requests per minute",
                    retry_after_s=wait,
                )
            self._bucket -= 1
        self._roll(now)
        self._requests += 1

    def spend(self, input_tokens: int, output_tokens: int) -> None:
        """Tokens of an answered request; tokens read from the prompt cache do not count."""
        self._input_tokens += input_tokens
        self._output_tokens += output_tokens

    def headers(self, now: float) -> list[tuple[bytes, bytes]]:
        """The nine rate-limit headers; remaining tokens are rounded to thousands."""
        self._roll(now)
        rate = self._settings.requests_per_minute
        limit = REQUESTS if rate is None else int(rate)
        left = max(0, limit - self._requests) if rate is None else int(self._bucket)
        tokens_in = max(0, INPUT_TOKENS - self._input_tokens) // 1000 * 1000
        tokens_out = max(0, OUTPUT_TOKENS - self._output_tokens) // 1000 * 1000
        return [
            (b"anthropic-ratelimit-requests-limit", b"%d" % limit),
            (b"anthropic-ratelimit-requests-remaining", b"%d" % left),
            (b"anthropic-ratelimit-requests-reset", self._reset),
            (b"anthropic-ratelimit-input-tokens-limit", b"%d" % INPUT_TOKENS),
            (b"anthropic-ratelimit-input-tokens-remaining", b"%d" % tokens_in),
            (b"anthropic-ratelimit-input-tokens-reset", self._reset),
            (b"anthropic-ratelimit-output-tokens-limit", b"%d" % OUTPUT_TOKENS),
            (b"anthropic-ratelimit-output-tokens-remaining", b"%d" % tokens_out),
            (b"anthropic-ratelimit-output-tokens-reset", self._reset),
        ]

    def _roll(self, now: float) -> None:
        if now >= self._window_end:
            self._window_end = now + WINDOW_S
            self._reset = rfc3339(self._window_end).encode()
            self._requests = self._input_tokens = self._output_tokens = 0
