"""Prompt caching: a marked prefix is paid at the write price, and then read at a lower price until it expires.

As in the API, a prefix is cached once the response that wrote it has begun: requests that are processed together each write
it. Only a share of a batch's requests finds cached prefixes. The cache is in memory, so a restart forgets every prefix.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import Any

import orjson

from anthropic_standin.catalogue import Model
from anthropic_standin.token_counts import count_prompt, prompt_blocks

LIFETIME_S = {"5m": 300.0, "1h": 3_600.0}
PREFIXES_KEPT = 50_000


def is_marked(params: dict[str, Any]) -> bool:
    """Return whether a request marks a prefix for caching."""
    return params.get("cache_control") is not None or any(
        mark for _, _, mark in prompt_blocks(params)
    )


@dataclass(frozen=True, slots=True)
class PromptUsage:
    """The input tokens of a request by price; the four counts add up to the whole prompt."""

    input_tokens: int
    read_tokens: int = 0
    written_5m_tokens: int = 0
    written_1h_tokens: int = 0


@dataclass(slots=True)
class _Prefix:
    """A written prefix: its number, its expiry, and the seconds by which a read prolongs its life."""

    number: int
    until: float
    life: float


class PromptCache:
    """The cached prefixes, kept until they expire; a read prolongs a prefix by the lifetime with which it was written."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], _Prefix] = {}
        self._lock = threading.Lock()
        self.written = 0
        """How many prefixes were: a request that begins now reads those, and none that comes later."""

    def charge(
        self,
        model: Model,
        params: dict[str, Any],
        now: float,
        *,
        began: int | None = None,
        reads: bool = True,
    ) -> PromptUsage:
        """Return the charge for a prompt that is answered at `now` (seconds).

        `began` is the number of written prefixes at the time when the request began; later ones are not read. Without `reads`,
        no prefix is read. Marked prefixes below the model's minimum are not cached.
        """
        if not is_marked(params):
            return PromptUsage(count_prompt(params))
        whole, blocks = params.get("cache_control"), list(prompt_blocks(params))
        if whole is not None:
            tokens, content, _ = blocks[-1]
            blocks[-1] = (tokens, content, whole)
        digest, total = hashlib.blake2b(digest_size=16), 0
        prefixes: list[tuple[int, bytes, float | None]] = []
        for tokens, content, mark in blocks:
            digest.update(
                content.encode("utf-8", "surrogatepass")
                if isinstance(content, str)
                else orjson.dumps(content)
            )
            digest.update(b"\x00")
            total += tokens
            life = LIFETIME_S.get(mark.get("ttl", "5m"), 300.0) if mark else None
            prefixes.append((total, digest.digest(), life))
        return self._settle(
            model, prefixes, total, now, self.written if began is None else began, reads
        )

    def _settle(
        self,
        model: Model,
        prefixes: list[tuple[int, bytes, float | None]],
        total: int,
        now: float,
        began: int,
        reads: bool,
    ) -> PromptUsage:
        read = 0
        written = {300.0: 0, 3_600.0: 0}
        with self._lock:
            for length, digest, _ in prefixes:
                known = self._known.get((model.id, digest))
                if reads and known and known.number <= began and known.until > now:
                    read = length
                    known.until = now + known.life
            reached = read
            for length, digest, life in prefixes:
                if life is None or length <= reached or length < model.cache_minimum_tokens:
                    continue
                written[life] += length - reached
                reached = length
                self._write((model.id, digest), life, now)
            if len(self._known) > PREFIXES_KEPT:
                self._known = {key: each for key, each in self._known.items() if each.until > now}
        return PromptUsage(total - reached, read, written[300.0], written[3_600.0])

    def _write(self, key: tuple[str, bytes], life: float, now: float) -> None:
        """Store the prefix; if it is cached already, prolong its life."""
        known = self._known.get(key)
        if known is not None and known.until > now:
            known.until, known.life = max(known.until, now + life), max(known.life, life)
            return
        self.written += 1
        self._known[key] = _Prefix(self.written, now + life, life)
