"""Creating a batch: the body is spooled once, then sent once, unchanged and with its length."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic
from hypothesis import given
from hypothesis import strategies as st

from lanes.provider import batches
from lanes.provider.batches import BatchBody
from lanes.provider.client import connect
from lanes.provider.errors import CallFailed
from lanes.provider.requests import Question, Writer, parameters
from lanes.words import Lane
from lanes.workload.context import ContextPart
from tests.examples import SCHEMA, batch_body, version
from tests.provider.test_results import HOST, VIEW

PARAMS = {
    "model": "claude-haiku-5-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "ü\u2028x"}],
}


async def sent(written: BatchBody) -> bytes:
    return b"".join([block async for block in written])


def spooled(*params: dict[str, Any]) -> dict[str, Any]:
    return {
        "requests": [
            {"custom_id": f"cafe-{number}", "params": each} for number, each in enumerate(params)
        ]
    }


@asynccontextmanager
async def asked(
    *answers: httpx2.Response,
) -> AsyncIterator[tuple[AsyncAnthropic, list[httpx2.Request], list[bytes]]]:
    """Yield a client, its requests and their bodies."""
    requests, bodies, left = list[httpx2.Request](), list[bytes](), list(answers)

    async def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        bodies.append(await request.aread())
        return left.pop(0)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with AsyncAnthropic(
        api_key="secret", base_url=HOST, max_retries=2, http_client=http
    ) as client:
        yield client, requests, bodies


@pytest.mark.parametrize("block", [1, 7, 1024**2])
async def test_a_body_contains_the_added_requests_and_has_the_length_and_hash_of_the_sent_bytes(
    block: int,
) -> None:
    with batch_body("cafe", PARAMS, {"n": 2}, block=block) as written:
        whole = await sent(written)
        assert json.loads(whole) == spooled(PARAMS, {"n": 2})
        assert (written.size, written.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
        assert await sent(written) == whole


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
async def test_dropped_requests_leave_no_trace_in_the_body(kept: int) -> None:
    with BatchBody() as written:
        for number in range(3):
            written.add(f"cafe-{number}", b'{"n":%d}' % number)
        written.keep(kept)
        assert len(written) == kept
        written.add(f"cafe-{kept}", b'{"n":"new"}')
        written.seal()
        whole = await sent(written)
        assert json.loads(whole) == spooled(
            *({"n": number} for number in range(kept)), {"n": "new"}
        )
        assert (written.size, written.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())


async def test_a_create_equals_that_of_the_sdk_and_has_a_content_length() -> None:
    async with asked(httpx2.Response(200, json=VIEW), httpx2.Response(200, json=VIEW)) as (
        client,
        requests,
        bodies,
    ):
        await client.messages.batches.create(requests=spooled(PARAMS)["requests"])
        with batch_body("cafe", PARAMS) as written:
            created = await batches.create(client, written)
    assert created.id == VIEW["id"]
    theirs, ours = requests
    assert json.loads(bodies[1]) == json.loads(bodies[0])
    assert (ours.method, ours.url) == (theirs.method, theirs.url)
    assert ours.headers["content-length"] == str(len(bodies[1]))
    assert "transfer-encoding" not in ours.headers
    differing = {
        name
        for name in {*ours.headers, *theirs.headers}
        if ours.headers.get(name) != theirs.headers.get(name)
    }
    assert differing <= {"content-length"}


@pytest.mark.parametrize("status", [500, 529, 429, 408])
async def test_a_create_is_sent_once_even_if_the_client_retries_other_calls(status: int) -> None:
    async with asked(httpx2.Response(status, json={"error": {"type": "x", "message": "no"}})) as (
        client,
        requests,
        _,
    ):
        with batch_body("cafe", PARAMS) as written, pytest.raises(CallFailed):
            await batches.create(client, written)
    assert len(requests) == 1


async def test_a_connection_reset_during_a_create_may_have_been_billed() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    large = PARAMS | {"system": "x" * 4_000_000}
    async with server, connect(api_key="x", base_url=url) as client:
        with (
            batch_body("cafe", large, large, block=1000) as written,
            pytest.raises(CallFailed) as failure,
        ):
            await batches.create(client, written)
    assert failure.value.maybe_billed


HUGE = {
    **SCHEMA,
    "properties": {**SCHEMA["properties"], "n": {"type": "integer", "maximum": 10**30}},
}
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"))
PAYLOADS = st.dictionaries(
    TEXT, TEXT | st.integers() | st.none() | st.lists(TEXT, max_size=2), min_size=1, max_size=3
)


@given(
    st.lists(PAYLOADS, min_size=1, max_size=3),
    st.sampled_from([SCHEMA, HUGE]),
    st.booleans(),
    st.booleans(),
)
def test_a_written_request_is_the_json_of_its_parameters(
    payloads: list[Any], schema: Any, told: bool, marked: bool
) -> None:
    of = version(output_schema=schema, instructions="Sort „it“.\n", batch_pack=3)
    history = (ContextPart({"text": "before"}),) if told else ()
    questions = [Question(str(number), payload, history) for number, payload in enumerate(payloads)]
    writer = Writer(of, Lane.BATCH)
    expected = parameters(of, Lane.BATCH, questions, marked=marked)
    for _ in range(2):
        written = json.loads(writer.write(questions, marked=marked))
        assert written == expected
        assert list(written) == list(expected)


@pytest.mark.parametrize(("lane", "ttl"), [(Lane.REALTIME, "5m"), (Lane.BATCH, "1h")])
@pytest.mark.parametrize("items", [1, 3])
def test_a_cache_mark_changes_only_the_system_block_and_has_the_ttl_of_its_lane(
    lane: Lane, ttl: str, items: int
) -> None:
    of, questions = (
        version(realtime_pack=3, batch_pack=3),
        [Question(str(number), {"text": "x"}) for number in range(items)],
    )
    plain, marked = (parameters(of, lane, questions, marked=each) for each in (False, True))
    (block,) = marked["system"]
    assert block == {
        "type": "text",
        "text": plain["system"],
        "cache_control": {"type": "ephemeral", "ttl": ttl},
    }
    assert marked | {"system": plain["system"]} == plain
