"""Tests of every fault of the local stand-in, as the real SDK receives it."""

from __future__ import annotations

import json
import time

import anthropic
import httpx2
import pytest

from anthropic_standin.testing import PACK_SCHEMA, Endpoint, asking, batch_of, until

PACK = "\n".join(f'<item id="{id}">\nText {id}\n</item>' for id in "abcd")


def text_of(message: anthropic.types.Message) -> str:
    (block,) = message.content
    assert block.type == "text"
    return block.text


async def test_a_status_fault_is_the_error_the_sdk_knows(echo: Endpoint) -> None:
    echo.fault("messages", "status", status=529, times=1)
    async with echo.async_client() as client:
        with pytest.raises(anthropic.OverloadedError) as overloaded:
            await client.messages.create(**asking("Hello"))
        assert overloaded.value.type == "overloaded_error"
        await client.messages.create(**asking("Hello"))
        echo.fault(
            "messages",
            "status",
            status=429,
            error_code="enforced_spend_limit_reached",
            retry_after_s=1.2,
            message="No more",
        )
        with pytest.raises(anthropic.RateLimitError) as limited:
            await client.messages.create(**asking("Hello"))
    assert limited.value.error_code == "enforced_spend_limit_reached"
    assert type(limited.value).__name__ == "EnforcedSpendLimitReachedError"
    assert limited.value.response.headers["retry-after"] == "2"
    assert limited.value.api_message == "No more"
    assert [rule["hits"] for rule in echo.control("GET", "faults")["data"]] == [1, 1]


@pytest.mark.slow
async def test_a_dropped_message_is_billed_though_no_answer_arrives(echo: Endpoint) -> None:
    echo.fault("messages", "drop", match="dropped text")
    async with echo.async_client() as client:
        with pytest.raises(anthropic.APIConnectionError):
            await client.messages.create(**asking("a dropped text"))
        await client.messages.create(**asking("another text"))
    assert echo.responses_about("a dropped text") == 1


async def test_a_cut_message_is_billed_and_breaks_off(echo: Endpoint) -> None:
    echo.fault("messages", "cut")
    async with echo.async_client() as client:
        with pytest.raises((anthropic.APIConnectionError, httpx2.HTTPError)):
            await client.messages.create(**asking("a cut text"))
        with pytest.raises((anthropic.APIConnectionError, httpx2.HTTPError)):
            async with client.messages.stream(**asking("a cut stream")) as stream:
                await stream.get_final_message()
    assert (echo.responses_about("a cut text"), echo.responses_about("a cut stream")) == (1, 1)


async def test_spoilt_answers_look_like_the_real_ones(echo: Endpoint) -> None:
    async with echo.async_client() as client:
        echo.fault("messages", "invalid_output", times=1)
        wrong = json.loads(text_of(await client.messages.create(**asking("Hello"))))
        assert set(wrong) == {"unexpected"}

        echo.fault("messages", "other_model", times=1)
        assert (await client.messages.create(**asking("Hello"))).model.endswith("-20991231")

        echo.fault("messages", "truncate", times=1)
        cut = await client.messages.create(**asking("Hello"))
        assert cut.stop_reason == "max_tokens"
        with pytest.raises(ValueError, match="line 1"):
            json.loads(text_of(cut))

        echo.fault("messages", "refusal", times=1)
        refused = await client.messages.create(**asking("Hello"))
        assert (refused.stop_reason, refused.content) == ("refusal", [])
        assert refused.usage.output_tokens > 0

        echo.fault("messages", "wrong_ids", times=1)
        pack = json.loads(text_of(await client.messages.create(**asking(PACK, schema=PACK_SCHEMA))))
        ids = [one["id"] for one in pack["answers"]]
    assert "d" not in ids
    assert sorted(ids).count("a") == 2
    assert set(ids) - set("abcd") == {"unknown-d"}


async def test_a_shift_gives_each_item_of_a_large_pack_the_answer_of_the_next(
    echo: Endpoint,
) -> None:
    async with echo.async_client() as client:

        async def answers(text: str) -> dict[str, object]:
            said = json.loads(
                text_of(await client.messages.create(**asking(text, schema=PACK_SCHEMA)))
            )
            return {one.pop("id"): one for one in said["answers"]}

        right = await answers(PACK)
        echo.fault("messages", "shift", above_items=len(right))
        assert await answers(PACK) == right
        echo.fault("messages", "shift", above_items=len(right) - 1)
        shifted = await answers(PACK)
    assert list(shifted) == list(right)
    assert list(shifted.values()) == [*list(right.values())[1:], next(iter(right.values()))]


async def test_a_stalled_message_times_out_at_the_client(echo: Endpoint) -> None:
    echo.fault("messages", "stall")
    async with echo.async_client(timeout=0.2) as client:
        with pytest.raises(anthropic.APITimeoutError):
            await client.messages.create(**asking("a stalled text"))
    echo.reset()
    assert echo.responses_about("a stalled text") == 0


async def test_latency_delays_an_answer_and_nothing_else(echo: Endpoint) -> None:
    echo.fault("messages", "latency", latency_s=0.2, times=1)
    async with echo.async_client() as client:
        started = time.perf_counter()
        await client.messages.create(**asking("Hello"))
        assert time.perf_counter() - started >= 0.2


async def test_a_dropped_creation_leaves_a_batch_that_the_list_shows(echo: Endpoint) -> None:
    echo.fault("batches.create", "drop", times=1)
    async with echo.async_client() as client:
        before = {batch.id async for batch in client.messages.batches.list()}
        with pytest.raises(anthropic.APIConnectionError):
            await client.messages.batches.create(requests=batch_of(["x", "y", "z"]))
        (found,) = [
            batch async for batch in client.messages.batches.list() if batch.id not in before
        ]
    counts = found.request_counts
    assert counts.processing + counts.succeeded == 3


async def test_lookups_of_batches_fail_as_ordered(echo: Endpoint) -> None:
    async with echo.async_client() as client:
        batch = await client.messages.batches.create(requests=batch_of(["x"]))
        echo.ended(batch.id)
        echo.fault("batches.retrieve", "status", status=404, times=1)
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.batches.retrieve(batch.id)
        echo.fault("batches.list", "status", status=503, times=1)
        with pytest.raises(anthropic.ServiceUnavailableError):
            await client.messages.batches.list()
        echo.fault("batches.results", "status", status=404, times=1)
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.batches.results(batch.id)
        echo.fault("batches.results", "drop", times=1)
        with pytest.raises(anthropic.APIConnectionError):
            await client.messages.batches.results(batch.id)
        assert len([line async for line in await client.messages.batches.results(batch.id)]) == 1


async def test_cut_results_give_whole_lines_first_and_all_of_them_the_next_time(
    echo: Endpoint,
) -> None:
    async with echo.async_client() as client:
        batch = await client.messages.batches.create(requests=batch_of([f"{i}" for i in range(20)]))
        echo.ended(batch.id)
        echo.fault("batches.results", "cut", after_lines=7, times=1)
        seen: list[str] = []

        async def read() -> None:
            async for line in await client.messages.batches.results(batch.id):
                seen.append(line.custom_id)

        with pytest.raises((httpx2.HTTPError, json.JSONDecodeError)):
            await read()
        assert len(seen) == 7
        again = [line.custom_id async for line in await client.messages.batches.results(batch.id)]
    assert again[:7] == seen
    assert len(again) == 20


@pytest.mark.parametrize("lines", [0, 7])
async def test_short_results_end_well_after_some_lines_and_are_whole_the_next_time(
    echo: Endpoint, lines: int
) -> None:
    async with echo.async_client() as client:
        batch = await client.messages.batches.create(requests=batch_of([f"{i}" for i in range(20)]))
        echo.ended(batch.id)
        echo.fault("batches.results", "short", after_lines=lines, times=1)
        read = [
            [line.custom_id async for line in await client.messages.batches.results(batch.id)]
            for _ in range(2)
        ]
    assert [len(each) for each in read] == [lines, 20]


async def test_single_requests_of_a_batch_fail_each_in_its_way(echo: Endpoint) -> None:
    kinds = ("status", "expire", "refusal", "truncate", "invalid_output", "drop", "lose")
    for kind in kinds:
        echo.fault("batch_request", kind, match=f"<{kind}>", status=500)
    async with echo.async_client() as client:
        texts = [f"batch <{kind}>" for kind in (*kinds, "plain")]
        batch = await client.messages.batches.create(requests=batch_of(texts))
        ended = echo.ended(batch.id)
        results = {
            line.custom_id: line.result
            async for line in await client.messages.batches.results(batch.id)
        }
    named = {kind: results.get(f"c{place}") for place, kind in enumerate((*kinds, "plain"))}
    status = named["status"]
    assert status is not None
    assert status.type == "errored"
    assert status.error.error.type == "api_error"
    assert named["expire"] is not None
    assert named["expire"].type == "expired"
    assert named["drop"] is named["lose"] is None
    stops = {
        kind: one.message.stop_reason
        for kind, one in named.items()
        if one and one.type == "succeeded"
    }
    assert stops == {
        "refusal": "refusal",
        "truncate": "max_tokens",
        "invalid_output": "end_turn",
        "plain": "end_turn",
    }
    counts = ended.request_counts
    assert (counts.succeeded, counts.errored, counts.expired) == (5, 2, 1)
    assert [echo.responses_about(f"batch <{kind}>") for kind in kinds] == [0, 0, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("where", ["batch_request", "batches.create"])
async def test_a_stalled_batch_ends_once_the_rules_are_cleared(echo: Endpoint, where: str) -> None:
    echo.fault(where, "stall", match="stuck")
    async with echo.async_client() as client:
        batch = await client.messages.batches.create(requests=batch_of(["stuck", "free"]))
        other = await client.messages.batches.create(requests=batch_of(["other"]))
        echo.ended(other.id)
        assert (await client.messages.batches.retrieve(batch.id)).processing_status == "in_progress"
    echo.reset()
    assert echo.ended(batch.id).request_counts.succeeded == 2


async def test_a_batch_created_to_expire_expires_whole_and_costs_nothing(echo: Endpoint) -> None:
    echo.fault("batches.create", "expire", times=1)
    async with echo.async_client() as client:
        requests = batch_of(["expiring text", "another expiring text"])
        batch = await client.messages.batches.create(requests=requests)  # type: ignore[arg-type]
    assert echo.ended(batch.id).request_counts.expired == 2
    assert echo.responses_about("expiring text") == 0


async def test_rate_and_times_bound_a_rule(echo: Endpoint) -> None:
    echo.fault("messages", "status", rate=0.0)
    echo.fault("messages", "status", rate=0.5, times=3)
    failed = 0
    async with echo.async_client() as client:
        for _ in range(60):
            try:
                await client.messages.create(**asking("Hello"))
            except anthropic.InternalServerError:
                failed += 1
    assert failed == 3


def test_a_rule_that_makes_no_sense_is_refused_with_a_reason(echo: Endpoint) -> None:
    for spec in (
        {"where": "nowhere", "kind": "drop"},
        {"where": "messages", "kind": "expire"},
        {"were": "messages"},
    ):
        answer = httpx2.post(f"{echo.url}/_control/faults", json=spec)
        assert answer.status_code == 400
        assert (
            "should" in answer.json()["error"]["message"]
            or "no such field" in answer.json()["error"]["message"]
        )
    until(lambda: echo.control("GET", "faults")["data"] == [])
