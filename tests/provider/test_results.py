"""The results of a batch through the real SDK: every line is read by itself, and an unreadable line affects no other."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic

from lanes.provider.client import ask
from lanes.provider.errors import Action, CallFailed
from lanes.provider.message import MOST_BYTES as LONGEST_LINE
from lanes.provider.results import (
    RequestFault,
    RequestResult,
    ResultsCut,
    Unreadable,
    fate,
    read_line,
    results,
)
from lanes.settling.outcome import Judgment, Response
from lanes.words import Outcome
from tests.hostile.answers import KINDS, spoiled_line

BLOCK = 1024 * 1024  # bytes of a long answer that arrive at once
ID = "msgbatch_1"
HOST = "http://provider.test"
USAGE = {"input_tokens": 5, "output_tokens": 3}
VIEW: dict[str, Any] = {
    "id": ID,
    "type": "message_batch",
    "processing_status": "ended",
    "created_at": "2026-11-24T12:00:00Z",
    "expires_at": "2026-11-25T12:00:00Z",
    "ended_at": "2026-11-24T12:10:00Z",
    "cancel_initiated_at": None,
    "archived_at": None,
    "results_url": f"{HOST}/v1/messages/batches/{ID}/results",
    "request_counts": {"processing": 0, "succeeded": 2, "errored": 0, "canceled": 0, "expired": 0},
}


def succeeded(number: int, text: str = "{}", nonce: str = "cafe") -> dict[str, Any]:
    message = {
        "id": f"msg_{number}",
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": USAGE,
    }
    return {"custom_id": f"{nonce}-{number}", "result": {"type": "succeeded", "message": message}}


def errored(kind: str | None, message: str = "no", **details: Any) -> dict[str, Any]:
    error = {"type": kind, "message": message} | ({"details": details} if details else {})
    return {
        "custom_id": "cafe-0",
        "result": {"type": "errored", "error": {"type": "error", "error": error}},
    }


def jsonl(*lines: dict[str, Any], end: str = "\n") -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + end for line in lines).encode()


async def read(
    body: bytes | AsyncIterator[bytes], view: dict[str, Any] = VIEW, *, requests: int | None = None
) -> list[RequestResult | Unreadable]:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/results"):
            return httpx2.Response(200, content=body)
        return httpx2.Response(200, json=view)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with AsyncAnthropic(
        api_key="x", base_url=HOST, max_retries=0, http_client=http
    ) as client:
        return [each async for chunk in results(client, ID, requests=requests) for each in chunk]


def numbers(found: list[RequestResult | Unreadable]) -> list[int | None]:
    return [each.number if isinstance(each, RequestResult) else None for each in found]


async def test_a_unicode_line_separator_in_an_answer_does_not_end_the_line() -> None:
    text = "one\u2028two\u2029three\x85four\x0bfive"
    first, second = await read(jsonl(succeeded(0, text), succeeded(1)))
    assert isinstance(first, RequestResult)
    assert isinstance(first.content, Response)
    assert first.content.text == text
    assert numbers([first, second]) == [0, 1]


async def test_lines_may_end_in_crlf_or_be_blank_and_the_last_needs_no_newline() -> None:
    body = b"\r\n\n" + jsonl(succeeded(0), end="\r\n") + b"\n \n" + jsonl(succeeded(1), end="")
    assert numbers(await read(body)) == [0, 1]


async def test_lines_are_read_completely_from_blocks_of_one_byte() -> None:
    async def blocks() -> AsyncIterator[bytes]:
        for byte in jsonl(succeeded(0, "ü"), succeeded(1)):
            yield bytes([byte])

    assert numbers(await read(blocks())) == [0, 1]


@pytest.mark.parametrize(
    "line",
    [
        {"custom_id": "cafe-0", "result": None},
        {"custom_id": "cafe-0"},
        {"result": {"type": "canceled"}},
        {"custom_id": None, "result": {"type": "canceled"}},
        {"custom_id": "cafe-0", "result": {"type": "succeeded", "message": None}},
        {"custom_id": "cafe-0", "result": {"type": "succeeded", "message": {"id": "msg_0"}}},
        {"custom_id": "cafe-0", "result": {"type": "postponed"}},
        {"custom_id": "cafe-0", "result": {"type": ["succeeded"]}},
        [],
        None,
    ],
)
async def test_a_line_without_a_readable_result_is_unreadable_and_the_others_are_read(
    line: Any,
) -> None:
    unreadable, other = await read(json.dumps(line).encode() + b"\n" + jsonl(succeeded(1)))
    assert isinstance(unreadable, Unreadable)
    named = isinstance(line, dict) and line.get("custom_id") == "cafe-0"
    assert (unreadable.nonce, unreadable.number) == (("cafe", 0) if named else ("", -1))
    assert numbers([other]) == [1]


async def test_a_spoiled_message_names_its_request_and_its_bill_is_read_where_possible() -> None:
    kinds = [*KINDS.values()]
    found = await read(
        b"\n".join(spoiled_line(succeeded(number), kind) for number, kind in enumerate(kinds))
    )
    assert [(each.nonce, each.number) for each in found] == [
        ("cafe", number) for number in range(len(kinds))
    ]
    billed = [isinstance(each, RequestResult) for each in found]
    assert [
        kind.name
        for kind, is_billed in zip(kinds, billed, strict=True)
        if is_billed != kind.is_billed
    ] == []


def test_a_message_of_an_unknown_result_type_is_billed_and_gives_no_answer() -> None:
    line = succeeded(0)
    line["result"]["type"] = "finished\x1b[31m"
    found = read_line(json.dumps(line).encode())
    assert isinstance(found, RequestResult)
    assert isinstance(found.content, Response)
    assert found.content.fault == "its result is of no known type: finished [31m"


async def test_a_line_that_is_too_long_is_unreadable_and_affects_no_other() -> None:
    async def blocks() -> AsyncIterator[bytes]:
        yield jsonl(succeeded(0)) + jsonl(succeeded(1))[:-1]
        for _ in range(2 * LONGEST_LINE // BLOCK):
            yield b" " * BLOCK
        yield b"\n" + jsonl(succeeded(2))

    assert numbers(await read(blocks())) == [0, None, 2]


async def test_endless_results_are_read_only_up_to_a_size_that_depends_on_the_requests() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield jsonl(succeeded(0), succeeded(1))
        while True:
            sent += 1
            yield b"\n".rjust(BLOCK)

    assert numbers(await read(endless(), requests=2)) == [0, 1]
    assert sent <= 2 * LONGEST_LINE / BLOCK


async def test_an_incomplete_line_at_the_end_is_unreadable() -> None:
    assert numbers(await read(jsonl(succeeded(0)) + jsonl(succeeded(1))[:40])) == [0, None]
    assert numbers(await read(jsonl(succeeded(0)) + jsonl(succeeded(1, "ü" * 99))[:200])) == [
        0,
        None,
    ]


async def test_a_stream_that_breaks_off_raises_an_error() -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield jsonl(succeeded(0))
        raise httpx2.ReadError("reset")

    with pytest.raises(ResultsCut, match="msgbatch_1 broke off: ReadError"):
        await read(breaking())


async def test_archived_results_are_reported_in_a_sentence() -> None:
    archived = VIEW | {"results_url": None, "archived_at": "2026-12-24T12:00:00Z"}
    with pytest.raises(
        CallFailed, match=r"offers no results of msgbatch_1: it keeps them for 29 days"
    ):
        await read(b"", archived)


@pytest.mark.parametrize(
    "custom_id",
    ["cafe", "cafe-", "cafe-x", "cafe-01", "cafe--1", "cafe-1\n", f"cafe-{10**12}", "-1"],
)
async def test_a_custom_id_that_we_would_not_have_made_matches_no_request(custom_id: str) -> None:
    (only,) = await read(jsonl({"custom_id": custom_id, "result": {"type": "expired"}}))
    assert isinstance(only, RequestResult)
    assert (only.nonce, only.number) == (custom_id, -1)


@pytest.mark.parametrize(
    ("status", "kind", "message", "code", "action"),
    [
        (400, "invalid_request_error", "messages: too long", None, Action.POISON),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the API.",
            None,
            Action.STOP_PAYING,
        ),
        (
            400,
            "invalid_request_error",
            "You have reached your specified API usage limits.",
            None,
            Action.STOP_PAYING,
        ),
        (
            403,
            "permission_error",
            "Your credit balance is too low to access the API.",
            None,
            Action.STOP_PAYING,
        ),
        (400, "invalid_request_error", "no", "organization_on_hold", Action.STOP_PAYING),
        (402, "billing_error", "no", None, Action.STOP_PAYING),
        (402, "billing_error", "no", "linked_organization_spend_limit_reached", Action.STOP_PAYING),
        (401, "authentication_error", "no", None, Action.MISCONFIGURED),
        (403, "permission_error", "no", None, Action.FORBIDDEN),
        (400, "invalid_request_error", "no", "cmek_key_disabled", Action.MISCONFIGURED),
        (
            400,
            "invalid_request_error",
            "no",
            "workspace_human_review_disabled",
            Action.MISCONFIGURED,
        ),
        (404, "not_found_error", "model: claude-2", None, Action.UNKNOWN_MODEL),
        (429, "rate_limit_error", "no", None, Action.SLOW_DOWN),
        (429, "rate_limit_error", "no", "ramp_limit_exceeded", Action.SLOW_DOWN),
        (429, "rate_limit_error", "no", "enforced_spend_limit_reached", Action.STOP_PAYING),
        (429, "rate_limit_error", "no", "contract_spend_limit_reached", Action.STOP_PAYING),
        (529, "overloaded_error", "no", None, Action.SHED),
        (413, "request_too_large", "no", None, Action.SPLIT),
        (500, "api_error", "no", None, Action.RETRY),
        (504, "timeout_error", "no", None, Action.RETRY),
        (503, "quite_new_error", "no", None, Action.RETRY),
    ],
)
async def test_an_error_in_a_line_has_the_same_meaning_as_in_a_call(
    status: int, kind: str, message: str, code: str | None, action: Action
) -> None:
    said = errored(kind, message, **({"error_code": code} if code else {}))
    (line,) = await read(jsonl(said))
    assert isinstance(line, RequestResult)
    assert line.content == RequestFault(action, f"{kind}: {message}")

    def refuse(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, json=said["result"]["error"])

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(refuse))
    async with AsyncAnthropic(
        api_key="x", base_url=HOST, max_retries=0, http_client=http
    ) as client:
        with pytest.raises(CallFailed) as failure:
            await ask(client, b"{}", longest_s=30)
    assert failure.value.action is action


@pytest.mark.parametrize(
    "error", [None, "no", {"error": None}, {"error": {"type": ["x"], "message": 1, "details": 2}}]
)
async def test_an_error_without_readable_details_is_a_fault_to_retry(error: Any) -> None:
    (failed,) = await read(
        jsonl({"custom_id": "cafe-0", "result": {"type": "errored", "error": error}})
    )
    assert isinstance(failed, RequestResult)
    assert isinstance(failed.content, RequestFault)
    assert failed.content.action is Action.RETRY


async def test_an_error_is_quoted_as_one_short_line() -> None:
    (line,) = await read(jsonl(errored("api_error", "\x1b[31mno\r\n\x00" + "x" * 10**6)))
    assert isinstance(line, RequestResult)
    assert isinstance(line.content, RequestFault)
    assert line.content.detail.startswith("api_error:  [31mno x".replace("  ", " "))
    assert line.content.detail.isprintable()
    assert len(line.content.detail) < 600


@pytest.mark.parametrize("action", [Action.POISON, Action.SPLIT])
def test_a_refused_pack_blames_no_single_item_and_a_refused_item_is_poison(action: Action) -> None:
    assert fate(RequestFault(action, "no"), items=2, others_answered=True) == Judgment(
        Outcome.PACK_REFUSED, error="no"
    )
    assert fate(RequestFault(action, "no"), items=1, others_answered=True) == Judgment(
        Outcome.POISON, error="no"
    )


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(
    "action",
    [
        Action.STOP_PAYING,
        Action.MISCONFIGURED,
        Action.FORBIDDEN,
        Action.UNKNOWN_MODEL,
        Action.SLOW_DOWN,
        Action.SHED,
    ],
)
def test_an_error_of_the_account_the_rate_or_the_load_is_never_the_fault_of_the_item(
    action: Action, answered: bool
) -> None:
    assert (
        fate(RequestFault(action, "no"), items=1, others_answered=answered).outcome
        is Outcome.UNSERVED
    )


def test_a_provider_failure_counts_against_a_request_only_if_others_were_answered() -> None:
    down = RequestFault(Action.RETRY, "no")
    assert fate(down, items=1, others_answered=True) == Judgment(Outcome.ERRORED, error="no")
    assert fate(down, items=3, others_answered=True) == Judgment(
        Outcome.ERRORED, error="no", spends=False, alone=True
    )
    for items in (1, 3):
        assert fate(down, items=items, others_answered=False).outcome is Outcome.UNSERVED


async def test_chunks_of_lines_are_bounded_by_number_and_by_bytes() -> None:
    body = jsonl(*(succeeded(number) for number in range(7)))
    line = len(body) // 7

    async def sizes(most: int, most_bytes: int) -> list[int]:
        def answer(request: httpx2.Request) -> httpx2.Response:
            ended = request.url.path.endswith("/results")
            return httpx2.Response(200, content=body) if ended else httpx2.Response(200, json=VIEW)

        http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        async with AsyncAnthropic(
            api_key="x", base_url=HOST, max_retries=0, http_client=http
        ) as client:
            return [
                len(chunk) async for chunk in results(client, ID, most=most, most_bytes=most_bytes)
            ]

    assert await sizes(3, 10**9) == [3, 3, 1]
    assert await sizes(100, 2 * line) in ([2, 2, 2, 1], [3, 3, 1])
    assert await sizes(7, 10**9) == [7]


async def test_json_that_python_accepts_and_other_parsers_reject_is_read() -> None:
    """Expect the bill of an answer with half a surrogate pair to be read; that the text cannot be stored is another matter."""
    odd = jsonl(succeeded(0)).replace(b'"text": "{}"', b'"text": "\\ud800"')
    nan = jsonl(succeeded(1)).replace(b'"stop_reason"', b'"score": NaN, "stop_reason"')
    assert numbers(await read(odd + nan)) == [0, 1]
