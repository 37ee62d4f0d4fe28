"""Memory limits while our client decodes an answer, and refused redirects: over a real connection."""

import gzip
import json
import tracemalloc
import zlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from functools import cache

import pytest
from anthropic import AsyncAnthropic

from lanes.provider import batches, results
from lanes.provider.client import ask, connect
from lanes.provider.errors import Action, CallFailed
from lanes.provider.message import MOST_BYTES
from tests.examples import batch_body
from tests.flows.raw_provider import Say, saying
from tests.hostile.answers import message, succeeded, written
from tests.provider.test_results import VIEW

MIB = 1024 * 1024
PEAK = 5 * MOST_BYTES


@cache
def bomb() -> bytes:
    """Return 285 KiB that are 280 MiB once they are decoded."""
    return gzip.compress(b'{"id": "' + b"x" * (280 * MIB), 9)


def answer(body: bytes, *, encoding: str | None = None, status: str = "200 OK", **more: str) -> Say:
    async def say(_: StreamReader, writer: StreamWriter) -> None:
        headers = {"content-type": "application/json", "content-length": str(len(body)), **more}
        if encoding:
            headers["content-encoding"] = encoding
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)

    return say


async def asked(client: AsyncAnthropic) -> object:
    return await ask(client, b"{}", longest_s=60)


async def created(client: AsyncAnthropic) -> object:
    with batch_body("cafe", {"n": 1}) as body:
        return await batches.create(client, body)


async def looked_up(client: AsyncAnthropic) -> object:
    return await batches.retrieve(client, "msgbatch_1")


async def listed(client: AsyncAnthropic) -> object:
    return await batches.listing(client)


async def read(client: AsyncAnthropic) -> object:
    return [chunk async for chunk in results.results(client, "msgbatch_1", requests=1)]


CALLS = [asked, created, looked_up, listed, read]


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "503 Away"])
async def test_a_small_body_that_decodes_to_hundreds_of_megabytes_is_abandoned_early(
    call: Callable[[AsyncAnthropic], Awaitable[object]], status: str
) -> None:
    async with (
        saying(answer(bomb(), encoding="gzip", status=status)) as url,
        connect(api_key="x", base_url=url) as client,
    ):
        tracemalloc.start()
        with pytest.raises(
            CallFailed, match=r"the provider's answer is longer than 8,388,608 bytes"
        ) as met:
            await call(client)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < PEAK
    assert (met.value.action, met.value.maybe_billed) == (Action.RETRY, True)


@pytest.mark.slow
async def test_a_result_line_of_a_hundred_megabytes_is_not_buffered_and_the_others_are_read() -> (
    None
):
    right, long = (
        written(succeeded("cafe-0", message())),
        b'{"custom_id": "cafe-1", "x": "' + b"x" * (100 * MIB),
    )
    view, body = (
        answer(json.dumps(VIEW).encode()),
        answer(gzip.compress(right + b"\n" + long, 9), encoding="gzip"),
    )
    del long
    says = iter([view, body])

    async def say(reader: StreamReader, writer: StreamWriter) -> None:
        await next(says)(reader, writer)

    async with saying(say) as url, connect(api_key="x", base_url=url) as client:
        tracemalloc.start()
        found = [
            line
            async for chunk in results.results(client, "msgbatch_1", requests=50)
            for line in chunk
        ]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < PEAK
    assert [(type(line), line.number) for line in found] == [
        (results.RequestResult, 0),
        (results.Unreadable, 1),
    ]


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate", "gzip, gzip", "unheard-of"])
async def test_an_answer_is_read_completely_in_every_encoding(encoding: str | None) -> None:
    body = written(message(text="x" * 3 * MIB))
    for each in (encoding or "").split(", "):
        body = {"gzip": gzip.compress, "deflate": zlib.compress}.get(each, bytes)(body)
    async with (
        saying(answer(body, encoding=encoding)) as url,
        connect(api_key="x", base_url=url) as client,
    ):
        found = await ask(client, b"{}", longest_s=60)
    assert len(found.text) == 3 * MIB


@pytest.mark.parametrize("encoding", ["gzip", ", ".join(["gzip"] * 9)])
async def test_a_body_that_does_not_match_its_encoding_header_is_a_failed_call(
    encoding: str,
) -> None:
    async with (
        saying(answer(b"{}", encoding=encoding)) as url,
        connect(api_key="x", base_url=url) as client,
    ):
        with pytest.raises(CallFailed) as met:
            await ask(client, b"{}", longest_s=60)
    assert (met.value.action, met.value.maybe_billed) == (Action.RETRY, True)


@pytest.mark.parametrize("call", CALLS)
async def test_no_redirect_is_followed(call: Callable[[AsyncAnthropic], Awaitable[object]]) -> None:
    """Expect an error: a redirect would carry the key and the request to another address."""
    reached: list[bytes] = []

    async def elsewhere(reader: StreamReader, writer: StreamWriter) -> None:
        reached.append(b"reached")

    async with saying(elsewhere) as other:
        redirect = answer(b"", status="307 Temporary Redirect", location=f"{other}/v1/messages")
        async with saying(redirect) as url, connect(api_key="x", base_url=url) as client:
            with pytest.raises(CallFailed, match="the provider answered 307") as met:
                await call(client)
    assert met.value.action is Action.MISCONFIGURED
    assert reached == []
