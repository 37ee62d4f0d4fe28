"""The meaning of statuses and broken connections, through the real SDK: only a refusal by the API is the item's fault."""

import itertools
import socket
from types import SimpleNamespace
from typing import Any

import aiohttp
import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic

from lanes.batch.departure import NotCreated
from lanes.provider.client import ask
from lanes.provider.errors import FREEZES, Action, CallFailed
from lanes.provider.transport import convert_error
from lanes.realtime.headers import LONGEST_WAIT_S
from tests.provider.test_results import HOST

ITEMS_OWN = {400: Action.POISON, 422: Action.POISON, 413: Action.SPLIT}
BODIES: list[Any] = [
    {"error": {"type": "api_error", "message": "no"}},
    "<html>",
    None,
    [],
    {"error": "no"},
    {"error": {"message": {"a": ["\x00"]}}},
    {"error": {"type": ["x"], "message": 5, "details": {"error_code": ["y"]}}},
    {"error": {"details": "no"}},
]
REQUEST = httpx2.Request("POST", "http://provider.invalid/v1/messages")
PLACE: Any = SimpleNamespace(host="provider.invalid", port=443, ssl=True)
MET = {
    "refused": (
        httpx2.ConnectError,
        aiohttp.ClientConnectorError(PLACE, ConnectionRefusedError()),
        False,
    ),
    "unknown host": (
        httpx2.ConnectError,
        aiohttp.ClientConnectorDNSError(PLACE, socket.gaierror()),
        False,
    ),
    "no answer to a connect": (httpx2.ConnectTimeout, aiohttp.ConnectionTimeoutError(), False),
    "closed after the request": (httpx2.ConnectError, aiohttp.ServerDisconnectedError(), True),
    "reset after the request": (httpx2.ConnectError, aiohttp.ClientOSError(104, "reset"), True),
    "closed while it was written": (
        httpx2.ConnectError,
        aiohttp.ClientConnectionResetError(),
        True,
    ),
    "silent after the request": (httpx2.ReadTimeout, aiohttp.SocketTimeoutError(), True),
    "cut in the answer": (httpx2.ReadError, aiohttp.ClientPayloadError(), True),
}


async def failure(status: int, body: Any = None, **headers: str) -> CallFailed:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, json=body, headers=headers)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(refuse))
    async with AsyncAnthropic(
        api_key="x", base_url=HOST, max_retries=0, http_client=http
    ) as client:
        with pytest.raises(CallFailed) as met:
            await ask(client, b"{}", longest_s=30)
    return met.value


@pytest.mark.slow
async def test_only_a_refusal_by_the_api_is_the_fault_of_the_item() -> None:
    bodies = itertools.cycle(BODIES)
    for status in range(300, 600):
        met = await failure(status, next(bodies))
        if status in ITEMS_OWN:
            assert met.action is ITEMS_OWN[status]
        else:
            assert met.action not in (Action.POISON, Action.SPLIT), status
        assert met.maybe_billed == (status >= 500 and status != 529), status
        assert str(met).isprintable()


@pytest.mark.parametrize(
    "status", [300, 301, 302, 303, 304, 305, 307, 308, 401, 405, 407, 411, 426, 431, 451]
)
async def test_a_status_from_a_wrong_address_or_a_proxy_is_a_settings_fault_without_a_batch(
    status: int,
) -> None:
    met = await failure(status, location="http://elsewhere.test/")
    assert met.action is Action.MISCONFIGURED
    assert met.action in FREEZES
    assert "check key and address of the provider block" in str(met)
    assert met.as_create is NotCreated.FOR_GOOD


@pytest.mark.parametrize(
    "status", [408, 409, 412, 418, 421, 423, 425, 444, 498, 499, 500, 501, 503, 504, 511, 599]
)
async def test_any_other_status_is_retried(status: int) -> None:
    assert (await failure(status)).action is Action.RETRY


@pytest.mark.parametrize(
    ("status", "error", "action"),
    [
        (401, {"type": "authentication_error"}, Action.MISCONFIGURED),
        (402, {"type": "billing_error"}, Action.STOP_PAYING),
        (403, {"type": "permission_error"}, Action.FORBIDDEN),
        (404, {"type": "not_found_error"}, Action.UNKNOWN_MODEL),
        (429, {"type": "rate_limit_error"}, Action.SLOW_DOWN),
        (429, {"details": {"error_code": "ramp_limit_exceeded"}}, Action.SLOW_DOWN),
        (429, {"details": {"error_code": "enforced_spend_limit_reached"}}, Action.STOP_PAYING),
        (429, {"details": {"error_code": "contract_spend_limit_reached"}}, Action.STOP_PAYING),
        (400, {"details": {"error_code": "organization_on_hold"}}, Action.STOP_PAYING),
        (400, {"details": {"error_code": "cmek_key_disabled"}}, Action.MISCONFIGURED),
        (400, {"message": "Your credit balance is too low to go on"}, Action.STOP_PAYING),
        (400, {"message": "You have reached your specified API usage limits"}, Action.STOP_PAYING),
        (529, {"type": "overloaded_error"}, Action.SHED),
    ],
)
async def test_an_error_about_the_account_or_the_model_is_not_the_fault_of_the_item(
    status: int, error: dict[str, Any], action: Action
) -> None:
    assert (await failure(status, {"error": {"message": "no", **error}})).action is action


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ("7", 7),
        ("0", 0),
        (" 1.5 ", 1.5),
        ("1e308", LONGEST_WAIT_S),
        ("inf", LONGEST_WAIT_S),
        ("9" * 5_000, LONGEST_WAIT_S),
        ("nan", None),
        ("-inf", None),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
async def test_retry_after_is_a_number_of_seconds_up_to_an_hour_or_is_ignored(
    said: str, waits: float | None
) -> None:
    assert (await failure(429, **{"retry-after": said})).retry_after_s == waits


async def test_an_error_of_the_provider_is_shown_as_one_short_line() -> None:
    hostile = {
        "error": {
            "type": "invalid_request_error",
            "message": "\x1b[31mno\r\n\x00\ud800" + "x" * 100_000,
        }
    }
    said = str(await failure(400, hostile))
    assert said.isprintable()
    assert len(said) < 700


@pytest.mark.parametrize("name", MET)
def test_only_a_request_that_never_left_this_machine_cannot_have_been_billed(name: str) -> None:
    kind, below, maybe_billed = MET[name]
    assert convert_error(raised(kind, below)).maybe_billed is maybe_billed


def test_a_call_that_timed_out_may_have_been_billed() -> None:
    assert convert_error(TimeoutError()).maybe_billed


def raised(
    kind: type[httpx2.HTTPError], below: aiohttp.ClientError
) -> anthropic.APIConnectionError:
    """Return the error that the SDK raises when its transport meets an error of aiohttp."""
    try:
        try:
            try:
                raise below
            except aiohttp.ClientError as met:
                raise kind("lost") from met
        except httpx2.HTTPError as error:
            raise anthropic.APIConnectionError(request=REQUEST) from error
    except anthropic.APIConnectionError as said:
        return said
