"""Calls to Slack: by a bot, whose messages can be edited and found again, or by an incoming webhook.

The calls block: run them in a thread. A post is tried once, because Slack does not detect a repeated post; edits and searches
are retried after a connection or server error.
"""

import http.client
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

from pydantic import SecretStr
from slack_sdk import WebClient, WebhookClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_handlers import (
    ConnectionErrorRetryHandler,
    RateLimitErrorRetryHandler,
    ServerErrorRetryHandler,
)
from slack_sdk.http_retry.request import HttpRequest
from slack_sdk.http_retry.response import HttpResponse
from slack_sdk.http_retry.state import RetryState

from lanes.errors import LanesError
from lanes.promises.incident import Severity
from lanes.realtime.headers import retry_after_s
from lanes.slack.wording import SlackMessage

TIMEOUT_S = 10
SHORT_REST_S = 3  # longest `retry-after` that a thread waits for; the outbox waits for longer ones
PAGE = 200
MOST_PAGES = 50  # ten thousand messages of a day, or channels
CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{6,}")
UNSURE = {"internal_error", "fatal_error", "request_timeout", "service_unavailable"}
GONE = {
    "message_not_found",
    "channel_not_found",
    "is_archived",
    "cant_update_message",
    "thread_not_found",
    "edit_window_closed",
}
REMEDIES = {
    "invalid_auth": "the bot's token is not valid: set SLACK_BOT_TOKEN, then run `lanes up`",
    "not_authed": "the bot's token is missing: set SLACK_BOT_TOKEN, then run `lanes up`",
    "token_revoked": "the bot's token was revoked: set a new SLACK_BOT_TOKEN, then run `lanes up`",
    "account_inactive": "the bot's account was closed: set another SLACK_BOT_TOKEN, then run `lanes up`",
    "channel_not_found": "the bot sees no such channel: correct SLACK_CHANNEL, or invite the bot",
    "not_in_channel": "the bot is not in the channel: invite it",
    "is_archived": "the channel is archived: set another SLACK_CHANNEL, then run `lanes up`",
    "missing_scope": "the bot lacks a scope: it needs chat:write, and channels:history to find its messages again",
}


class DeliveryError(LanesError):
    """A failed call to Slack. `maybe`: it may have succeeded all the same; `gone`: the message can no longer be edited."""

    def __init__(
        self,
        sentence: str,
        *,
        maybe: bool = False,
        gone: bool = False,
        retry_after_s: float | None = None,
    ):
        self.maybe, self.gone, self.retry_after_s = maybe, gone, retry_after_s
        super().__init__(sentence)


@dataclass(frozen=True)
class MessagePlace:
    """The place of a message; empty for a webhook, which does not report it."""

    channel: str | None = None
    ts: str | None = None


class Messenger(Protocol):
    """One way to Slack; `edits` tells whether messages can be edited and found again. All methods raise DeliveryError."""

    edits: bool

    def channel_of(self, severity: Severity | None) -> str | None:
        """Return the channel for this severity, or None if a webhook determines it."""
        ...

    def post(self, message: SlackMessage, channel: str | None = None) -> MessagePlace:
        """Post a new message in `channel`, or else in the default one, and return its place."""
        ...

    def edit(self, place: MessagePlace, message: SlackMessage) -> None:
        """Replace the message at that place."""
        ...

    def reply(self, place: MessagePlace, message: SlackMessage) -> None:
        """Reply in the thread of the message at that place."""
        ...

    def find(self, uid: str, thread: MessagePlace, *, since: datetime) -> MessagePlace | None:
        """Return the place of the message with that uid, or None if Slack has none since `since`, by Slack's clock.

        Search the channel of `thread`, or the thread itself if it has a `ts`.
        """
        ...


class Bot:
    """A bot that posts to a channel."""

    edits = True

    def __init__(
        self,
        token: str,
        channel: str,
        api_url: str | None = None,
        channels: Mapping[Severity, str] = MappingProxyType({}),
    ) -> None:
        """Post to `channel`, or to the channel that `channels` names for a severity."""
        base = f"{api_url.rstrip('/')}/" if api_url else WebClient.BASE_URL
        self._channels = channels
        self._channel, rest = channel, _ShortRest(max_retry_count=1)
        self._once = _client(token, base, [rest])
        retrying = [ConnectionErrorRetryHandler(), ServerErrorRetryHandler(), rest]
        self._again = _client(token, base, retrying)

    def channel_of(self, severity: Severity | None) -> str | None:
        """Return the channel for this severity."""
        return self._channels.get(severity, self._channel) if severity else self._channel

    def post(self, message: SlackMessage, channel: str | None = None) -> MessagePlace:
        """Post a new message in `channel`, or in the default one if none is given or Slack refuses it."""
        try:
            answer = self._send(channel or self._channel, message)
        except DeliveryError as refused:
            if channel in (None, self._channel) or refused.maybe or refused.retry_after_s:
                raise
            return self.post(message)
        return MessagePlace(answer.get("channel") or channel or self._channel, answer.get("ts"))

    def edit(self, place: MessagePlace, message: SlackMessage) -> None:
        """Replace the message at that place."""
        assert place.ts is not None
        with _slack_errors():
            self._again.chat_update(
                channel=place.channel or self._channel, ts=place.ts, **message.content
            )

    def reply(self, place: MessagePlace, message: SlackMessage) -> None:
        """Reply in the thread of the message at that place."""
        assert place.ts is not None
        self._send(place.channel or self._channel, message, thread_ts=place.ts)

    def _send(self, channel: str, message: SlackMessage, thread_ts: str | None = None) -> Any:
        sent: dict[str, Any] = {**message.content, "unfurl_links": False, "unfurl_media": False}
        with _slack_errors():
            return self._once.chat_postMessage(channel=channel, thread_ts=thread_ts, **sent)

    def find(self, uid: str, thread: MessagePlace, *, since: datetime) -> MessagePlace | None:
        """Return the place of the message; resolve a channel's name to its id if the history API does not know the name."""
        where = thread.channel or self._channel
        try:
            return self._find(uid, where, thread.ts, since)
        except DeliveryError as problem:
            if not problem.gone or CHANNEL_ID.fullmatch(where):
                raise
        id_ = self._find_id(where)
        return self._find(uid, id_, thread.ts, since) if id_ else None

    def _find(self, uid: str, channel: str, ts: str | None, since: datetime) -> MessagePlace | None:
        arguments: Any = {"channel": channel, "oldest": f"{since.timestamp():.6f}"} | (
            {"ts": ts} if ts else {}
        )
        pages = self._again.conversations_replies if ts else self._again.conversations_history
        for page in _pages(pages, **arguments, include_all_metadata=True):
            for message in page["messages"]:
                metadata = message.get("metadata") or {}
                if (
                    str(metadata.get("event_type")).startswith("lanes_")
                    and metadata.get("event_payload", {}).get("uid") == uid
                ):
                    return MessagePlace(channel, message["ts"])
        return None

    def _find_id(self, name: str) -> str | None:
        bare = name.removeprefix("#")
        for page in _pages(self._again.conversations_list, types="public_channel,private_channel"):
            for channel_info in page["channels"]:
                if channel_info["name"] == bare:
                    return channel_info["id"]
        return None


class Webhook:
    """An incoming webhook, which can only post."""

    edits = False

    def __init__(self, url: str) -> None:
        self._client = WebhookClient(
            url, timeout=TIMEOUT_S, retry_handlers=[_ShortRest(max_retry_count=1)]
        )
        # Use the proxy of the environment, which also supports exceptions.
        self._client.proxy = None

    def channel_of(self, severity: Severity | None) -> str | None:
        """Return None: the webhook determines the channel."""
        return None

    def post(self, message: SlackMessage, channel: str | None = None) -> MessagePlace:
        """Post a new message in the webhook's channel."""
        with _slack_errors():
            answer = self._client.send(text=message.text, blocks=message.blocks, unfurl_links=False)
        if answer.status_code != 200:
            raise DeliveryError(
                f"Slack's webhook answered {answer.status_code} ({answer.body[:80].strip() or 'no text'}): "
                "check SLACK_WEBHOOK_URL",
                maybe=answer.status_code >= 500,
                retry_after_s=retry_after_s(answer.headers.get("Retry-After")),
            )
        return MessagePlace()

    def edit(self, place: MessagePlace, message: SlackMessage) -> None:
        """Raise DeliveryError: a webhook can only post."""
        raise DeliveryError("an incoming webhook cannot edit")

    def reply(self, place: MessagePlace, message: SlackMessage) -> None:
        """Raise DeliveryError: a webhook can only post."""
        raise DeliveryError("an incoming webhook has no threads")

    def find(self, uid: str, thread: MessagePlace, *, since: datetime) -> MessagePlace | None:
        """Return None: a webhook cannot search."""
        return None


def messenger(
    *,
    bot_token: SecretStr | None,
    channel: str | None,
    webhook_url: SecretStr | None,
    api_url: str | None,
    channels: str | None = None,
) -> Messenger | None:
    """Return the bot if its token and channel are set, else the webhook, or None without either.

    `channels` maps severities to channels, such as "critical=C0123ABCD,digest=#news".
    """
    if bot_token is not None and channel:
        pairs = (each.split("=", 1) for each in (channels or "").split(",") if each)
        named = {Severity(severity.strip()): where.strip() for severity, where in pairs}
        return Bot(bot_token.get_secret_value(), channel, api_url, named)
    return Webhook(webhook_url.get_secret_value()) if webhook_url is not None else None


class _ShortRest(RateLimitErrorRetryHandler):
    """A retry handler that waits in place for a short rate limit."""

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        if response is None or response.status_code != 429:
            return False
        retry_after = {name.lower(): value for name, value in response.headers.items()}.get(
            "retry-after", ["1"]
        )
        wait = retry_after_s(retry_after[0] if isinstance(retry_after, list) else retry_after)
        return wait is not None and wait <= SHORT_REST_S


@contextmanager
def _slack_errors() -> Iterator[None]:
    """Raise DeliveryError for every failure of a call to Slack."""
    try:
        yield
    except SlackApiError as error:
        raise _translate_error(error) from error
    except (OSError, SlackClientError, http.client.HTTPException, ValueError) as error:
        message = (
            f"Slack gives no answer ({type(error).__name__}): check the network and SLACK_API_URL"
        )
        raise DeliveryError(message, maybe=True) from error


def _translate_error(error: SlackApiError) -> DeliveryError:
    answer: Any = error.response
    data = getattr(answer, "data", answer)
    code = data.get("error", "") if isinstance(data, dict) else ""
    status = getattr(answer, "status_code", 200)
    headers = getattr(answer, "headers", {}) or {}
    if status == 429 or code in ("ratelimited", "rate_limited"):
        wait = retry_after_s(
            {name.lower(): value for name, value in headers.items()}.get("retry-after")
        )
        return DeliveryError(
            "Slack limits our rate: waiting as long as it asks for", retry_after_s=wait or 30
        )
    if not code or status >= 500 or code in UNSURE:
        return DeliveryError(
            f"Slack failed ({status} {code}): trying again".replace(" )", ")"), maybe=True
        )
    remedy = REMEDIES.get(code, "see its documentation for this code")
    return DeliveryError(f"Slack refused ({code}): {remedy}", gone=code in GONE)


def _client(token: str, base: str, handlers: list[Any]) -> WebClient:
    client = WebClient(token=token, base_url=base, timeout=TIMEOUT_S, retry_handlers=handlers)
    client.proxy = None  # use the proxy of the environment, which also supports exceptions
    return client


def _pages(method: Any, **asked: Any) -> Iterator[Any]:
    cursor = ""
    for _ in range(MOST_PAGES):
        with _slack_errors():
            page = method(**asked, limit=PAGE, **({"cursor": cursor} if cursor else {}))
        yield page
        cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
        if not cursor:
            return
