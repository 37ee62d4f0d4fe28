"""Outgoing webhooks: the signed requests to a subscriber (Standard Webhooks), and the addresses that get no requests."""

import asyncio
import base64
import json
import os
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2
from standardwebhooks import Webhook

from lanes import json_data
from lanes.errors import SetupError
from lanes.rollouts.rollout import Happened

TIMEOUT_S = 10.0  # for one request, including the DNS lookup and the reply
LARGEST = 256 * 1024  # bytes in one request
GONE = 410  # the status with which a receiver ends its subscription
MOST_REPLY = 16 * 1024  # bytes of a reply that are read; none are stored
OVERLAP = timedelta(hours=24)  # how long a replaced secret still signs
NAT64 = ip_network("64:ff9b::/96")
USUAL = (
    "lanes.item.answered",
    "lanes.item.corrected",
    "lanes.item.failed",
    "lanes.job.done",
    "lanes.incident.opened",
    "lanes.incident.resolved",
)
EVENTS = (
    *USUAL,
    *(f"lanes.item.{each}" for each in ("accepted", "rejected")),
    *(f"lanes.batch.{each}" for each in ("submitted", "ended", "collected")),
    *(f"lanes.rollout.{each}" for each in Happened),
    "lanes.replay.promoted",
    "lanes.replay.demoted",
    "lanes.proposal.opened",
)
TEST = "lanes.webhook.test"


@dataclass(frozen=True, slots=True)
class WebhookKeys:
    """A subscriber's address and its secrets, newest first, each with the end of its validity; None: no end."""

    url: str
    secrets: tuple[tuple[str, datetime | None], ...]

    @classmethod
    def new(cls, url: str) -> Self:
        """Return the keys of a new subscriber."""
        return cls(url, ((_secret(), None),))

    @classmethod
    def read(cls, stored: str) -> Self:
        """Read keys that `dump` wrote."""
        data = json.loads(stored)
        secrets = [
            (each, until and datetime.fromisoformat(until)) for each, until in data["secrets"]
        ]
        return cls(data["url"], tuple(secrets))

    def dump(self) -> str:
        """Return the keys as the value of a secret block."""
        secrets = [[each, until and until.isoformat()] for each, until in self.secrets]
        return json.dumps({"url": self.url, "secrets": secrets})

    def rotate(self, now: datetime) -> "WebhookKeys":
        """Return the keys with a new secret; the previous secret stays valid for a day."""
        return WebhookKeys(self.url, ((_secret(), None), (self.secrets[0][0], now + OVERLAP)))

    def signatures(self, id_: str, body: str, now: datetime) -> str:
        """Return one signature for each valid secret."""
        valid = [each for each, until in self.secrets if until is None or now < until]
        return " ".join(Webhook(each).sign(id_, now.astimezone(UTC), body) for each in valid)


def block_name(webhook: str) -> str:
    """Return the name of the secret block that holds the keys of a subscriber."""
    return f"lanes-webhook-{webhook}"


def _secret() -> str:
    return f"whsec_{base64.b64encode(os.urandom(32)).decode()}"


def make_body(event: str, resource: str, payload: Mapping[str, Any], occurred_at: datetime) -> str:
    """Return the request body for an event."""
    workload = resource.removeprefix("lanes.workload.")
    about = {"workload": workload} if workload != resource else {"resource": resource}
    body = {
        "type": event,
        "timestamp": occurred_at.astimezone(UTC).isoformat(),
        "data": {**about, **payload},
    }
    return json_data.dumps(body)


def origin(url: str, *, allows_private: bool) -> str:
    """Return scheme, host and port of an address, which may be shown.

    Raises:
        SetupError: no request may be sent to the address, or the address holds a login.
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        parts, port = urlsplit(""), ""
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise SetupError("the address of a webhook must be https://HOST/PATH")
    if parts.username is not None or parts.fragment:
        raise SetupError("the address of a webhook may hold no login and no fragment (#)")
    if parts.scheme == "http" and not allows_private:
        raise SetupError(
            "the address of a webhook must begin with https; --allow-private allows http in a network of your own"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public internet and embeds no other address."""
    ip = ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    wraps = ip.version == 6 and (ip.sixtofour or ip.teredo or ip in NAT64)
    return ip.is_global and not ip.is_multicast and not wraps


class Undelivered(Exception):
    """A failed delivery; the message says why, without the address. `gone`: the subscriber wants no more events."""

    def __init__(
        self, why: str, retry_after: timedelta = timedelta(0), *, gone: bool = False
    ) -> None:
        super().__init__(why)
        self.retry_after, self.gone = retry_after, gone


class WebhookReceiver:
    """A connection to a subscriber, at an IP address that was looked up and checked when it was opened.

    All requests go to that IP address, so a later change of the name's DNS record has no effect. No proxy is used and no
    redirect is followed: either would connect to an address that was not checked.
    """

    def __init__(
        self, keys: WebhookKeys, *, allows_private: bool, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._keys, self._allows_private, self._timeout_s = keys, allows_private, timeout_s
        self._url = httpx2.URL(keys.url)
        self._address: asyncio.Task[str] | None = None
        self._client = httpx2.AsyncClient(verify=_tls(), trust_env=False, timeout=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._address is not None:
            self._address.cancel()
        await self._client.aclose()

    async def post(self, id_: str, body: str, now: datetime) -> None:
        """Send one event.

        Raises:
            Undelivered: the subscriber did not accept the event, or it is not known whether it did.
        """
        if len(content := body.encode()) > LARGEST:
            raise Undelivered(f"the event is larger than {LARGEST:,} bytes")
        headers = {
            "content-type": "application/json",
            "host": self._url.netloc.decode(),
            "user-agent": "lanes-webhooks",
            "webhook-id": id_,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._keys.signatures(id_, body, now),
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                self._address = self._address or asyncio.create_task(self._look_up())
                url = self._url.copy_with(host=await asyncio.shield(self._address))
                request = self._client.build_request("POST", url, content=content, headers=headers)
                request.extensions["sni_hostname"] = self._url.host
                reply = await self._client.send(request, stream=True)
                try:
                    size = 0
                    async for part in reply.aiter_raw():
                        if (size := size + len(part)) > MOST_REPLY:
                            break
                finally:
                    await reply.aclose()
        except TimeoutError:
            raise Undelivered(f"no reply within {self._timeout_s:g} s") from None
        except socket.gaierror:
            raise Undelivered(f"no name server knows the host {self._url.host}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise Undelivered(f"no reply ({type(error).__name__})") from None
        if not 200 <= reply.status_code < 300:
            moved = " (redirects are not followed)" if 300 <= reply.status_code < 400 else ""
            after = _retry_after(reply.headers.get("retry-after", ""), now)
            gone = reply.status_code == GONE
            raise Undelivered(f"HTTP {reply.status_code}{moved}", after, gone=gone)

    async def _look_up(self) -> str:
        """Return the IP address to connect to, after checking all addresses to which the name resolves.

        The lookup runs in a thread of its own, so that a slow name server delays no other subscriber.
        """
        executor, loop = ThreadPoolExecutor(1), asyncio.get_running_loop()
        try:
            where = (self._url.host, self._url.port or 443, 0, socket.SOCK_STREAM)
            results = await loop.run_in_executor(executor, socket.getaddrinfo, *where)
        finally:
            executor.shutdown(wait=False)
        addresses = [str(each[4][0]) for each in results]
        refused = next((each for each in addresses if not is_public(each)), None)
        if refused is not None and not self._allows_private:
            raise Undelivered(f"its host resolves to {refused}, which is not a public address")
        return addresses[0]


@cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def _retry_after(header: str, now: datetime) -> timedelta:
    try:
        return (
            timedelta(seconds=float(header))
            if header.isdigit()
            else parsedate_to_datetime(header) - now
        )
    except (ValueError, TypeError, OverflowError):
        return timedelta(0)
