"""Tests of prompt caching: when a prefix is cached, how long it lives, and the minimum length."""

from typing import Any

import pytest

from anthropic_standin.catalogue import MODELS
from anthropic_standin.prompt_cache import PromptCache, PromptUsage
from anthropic_standin.testing import Endpoint, batch_of

SONNET = MODELS["claude-sonnet-5-5"]
RULES = 2_000  # tokens
OWN = 4 + 3  # the tokens of a message's overhead, and of its text


def asking(ttl: str = "5m", rule: str = "Rule. ") -> dict[str, Any]:
    mark = {"type": "ephemeral", "ttl": ttl}
    system = [{"type": "text", "text": (rule * 2_000)[: 4 * RULES], "cache_control": mark}]
    return {"system": system, "messages": [{"role": "user", "content": "An item."[:12]}]}


def charged(cache: PromptCache, at: float, *, ttl: str = "5m", **how: Any) -> PromptUsage:
    return cache.charge(SONNET, asking(ttl), at, **how)


@pytest.mark.parametrize(("ttl", "life"), [("5m", 300), ("1h", 3_600)])
def test_a_prefix_lives_as_long_as_was_asked_and_a_read_prolongs_it(ttl: str, life: int) -> None:
    cache = PromptCache()
    assert charged(cache, 0, ttl=ttl).read_tokens == 0
    assert charged(cache, life - 1, ttl=ttl).read_tokens == RULES
    assert charged(cache, 2 * life - 2, ttl=ttl).read_tokens == RULES
    last = charged(cache, 3 * life - 2, ttl=ttl)
    assert (last.read_tokens, last.written_5m_tokens + last.written_1h_tokens) == (0, RULES)


def test_requests_that_are_worked_off_together_each_write_what_they_share() -> None:
    cache = PromptCache()
    before = cache.written
    together = [charged(cache, at, began=before) for at in (1.0, 1.2, 1.4)]
    assert [each.read_tokens for each in together] == [0, 0, 0]
    assert [each.written_5m_tokens for each in together] == [RULES] * 3
    assert charged(cache, 2.0, began=cache.written).read_tokens == RULES


def test_a_request_that_comes_where_no_prefix_is_writes_it() -> None:
    cache = PromptCache()
    charged(cache, 0)
    assert charged(cache, 1, reads=False).written_5m_tokens == RULES
    assert charged(cache, 2).read_tokens == RULES


def test_another_prefix_is_not_read() -> None:
    cache = PromptCache()
    charged(cache, 0)
    assert cache.charge(SONNET, asking(rule="Law. "), 1).read_tokens == 0
    assert cache.charge(MODELS["claude-opus-5-5"], asking(), 1).read_tokens == 0


def reads(echo: Endpoint, rule: str, requests: int) -> int:
    """Return how many requests of a batch read the rule that all of them mark; the others must have written it."""
    mark = {"type": "ephemeral", "ttl": "1h"}
    system = [{"type": "text", "text": rule * 4_000, "cache_control": mark}]
    client = echo.client()
    batch = client.messages.batches.create(
        requests=batch_of([f"Item {n}" for n in range(requests)], system=system)
    )
    echo.ended(batch.id)
    used = [
        line.result.message.usage
        for line in client.messages.batches.results(batch.id)
        if line.result.type == "succeeded"
    ]
    read = sum(1 for each in used if each.cache_read_input_tokens)
    assert sum(1 for each in used if each.cache_creation_input_tokens) == requests - read
    return read


@pytest.mark.slow
@pytest.mark.parametrize(("hits", "most"), [(0.0, 0), (1.0, 10**9)])
def test_of_a_batch_so_large_a_part_finds_a_cached_prompt(
    echo: Endpoint, hits: float, most: int
) -> None:
    echo.reset(batch_cache_hits=hits, batch_own_hits=hits)
    read = reads(echo, f"Rule {hits}. ", 200)
    assert read <= most
    assert (read > 0) is (hits > 0)


@pytest.mark.slow
def test_a_batch_reads_what_an_earlier_one_wrote_and_nothing_of_its_own(echo: Endpoint) -> None:
    echo.reset()
    assert [reads(echo, "A rule. ", requests) for requests in (200, 200)] == [0, 200]
    assert [reads(echo, "Another rule. ", requests) for requests in (1, 200)] == [0, 200]
