"""Prompt caching: a marked prefix is paid once at the write price, then read cheaply while it lives.

Kept in memory: a restart forgets every prefix.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import Any

import orjson

from lanes.standin.catalogue import Model
from lanes.standin.token_counts import count_prompt, prompt_blocks

LIFETIME_S = {"5m": 300.0, "1h": 3_600.0}
PREFIXES_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class PromptUsage:
    """How the input tokens of one request are charged; the four add up to the whole prompt."""

    input_tokens: int
    read_tokens: int = 0
    written_5m_tokens: int = 0
    written_1h_tokens: int = 0


class PromptCache:
    """Remembers prefixes until they expire; a read prolongs the life it was written with."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, bytes], tuple[float, float]] = {}
        self._lock = threading.Lock()

    def charge(self, model: Model, params: dict[str, Any], now: float) -> PromptUsage:
        """The charge for a prompt at `now` (seconds); marked prefixes under the model's minimum are not cached."""
        whole = params.get("cache_control")
        blocks = list(prompt_blocks(params))
        if whole is None and not any(mark for _, _, mark in blocks):
            return PromptUsage(count_prompt(params))
        if whole is not None:
            tokens, content, _ = blocks[-1]
            blocks[-1] = (tokens, content, whole)
        digest, total = hashlib.blake2b(digest_size=16), 0
        prefixes: list[tuple[int, bytes, float | None]] = []
        for tokens, content, mark in blocks:
            digest.update(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else orjson.dumps(content))
            digest.update(b"\x00")
            total += tokens
            life = LIFETIME_S.get(mark.get("ttl", "5m"), 300.0) if mark else None
            prefixes.append((total, digest.digest(), life))
        return self._settle(model, prefixes, total, now)

    def _settle(self, model: Model, prefixes: list[tuple[int, bytes, float | None]], total: int, now: float) -> PromptUsage:
        read = 0
        written = {300.0: 0, 3_600.0: 0}
        with self._lock:
            for length, digest, _ in prefixes:
                known = self._until.get((model.id, digest))
                if known and known[0] > now:
                    read = length
                    self._until[model.id, digest] = (now + known[1], known[1])
            reached = read
            for length, digest, life in prefixes:
                if life is None or length <= reached or length < model.cache_minimum_tokens:
                    continue
                written[life] += length - reached
                reached = length
                self._until[model.id, digest] = (now + life, life)
            if len(self._until) > PREFIXES_KEPT:
                self._until = {key: until for key, until in self._until.items() if until[0] > now}
        return PromptUsage(total - reached, read, written[300.0], written[3_600.0])
