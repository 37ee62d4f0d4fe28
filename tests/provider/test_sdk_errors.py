"""What a broken connection says of whether the provider saw the request: a reset may have been billed, a refusal was not."""

import socket
from types import SimpleNamespace
from typing import Any

import aiohttp
import anthropic
import httpx2
import pytest

from lanes.provider.transport import failed

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


@pytest.mark.parametrize("name", MET)
def test_only_what_never_left_this_machine_cannot_have_been_billed(name: str) -> None:
    kind, below, maybe_billed = MET[name]
    assert failed(raised(kind, below)).maybe_billed is maybe_billed


def test_a_call_that_was_given_up_may_have_been_billed() -> None:
    assert failed(TimeoutError()).maybe_billed


def raised(
    kind: type[httpx2.HTTPError], below: aiohttp.ClientError
) -> anthropic.APIConnectionError:
    """As the SDK raises what its transport makes of an error of aiohttp."""
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
