"""Speaks to Slack: with a bot's token, whose messages can be edited and found again, or with an incoming webhook.

The calls block: run them in a thread. A post is asked once, because Slack cannot tell a repeated one; edits and
look-ups repeat themselves after a connection or server error.
"""

import http.client
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
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
from lanes.realtime.headers import retry_after_s
from lanes.slack.wording import EVENT_TYPE, Message

TIMEOUT_S = 10
SHORT_REST_S = 3  # a longer `retry-after` is waited out by the outbox, not by a thread
PAGE = 200
MOST_PAGES = 50  # ten thousand messages of a day, or channels
CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{6,}")
UNSURE = {"internal_error", "fatal_error", "request_timeout", "service_unavailable"}
GONE = {
    "message_not_found",
    "channel_not_found",
    "is_archived",
    "cant_update_message",
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


class NotTold(LanesError):
    """Slack did not take it. `maybe` says that it may have, `gone` that the message can no longer be edited."""

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
class Place:
    """Where a message stands. A webhook tells neither."""

    channel: str | None = None
    ts: str | None = None


class Messenger(Protocol):
    """One way to Slack. `edits` says whether a message can be changed and found again."""

    edits: bool

    def post(self, message: Message) -> Place:
        """A new message stands there. Raises NotTold."""
        ...

    def edit(self, place: Place, message: Message) -> None:
        """The message says this now. Raises NotTold."""
        ...

    def reply(self, place: Place, message: Message) -> None:
        """The message stands in the thread of the one at that place. Raises NotTold."""
        ...

    def find(self, uid: str, *, since: datetime, channel: str | None) -> Place | None:
        """Where the message of that incident stands, None when Slack has none from `since` on, by its own clock.

        Raises NotTold.
        """
        ...


class Bot:
    """A bot in a channel."""

    edits = True

    def __init__(self, token: str, channel: str, api_url: str | None = None) -> None:
        base = f"{api_url.rstrip('/')}/" if api_url else WebClient.BASE_URL
        self._channel = channel
        self._once = _client(token, base, [_ShortRest(max_retry_count=1)])
        retrying = [
            ConnectionErrorRetryHandler(),
            ServerErrorRetryHandler(),
            _ShortRest(max_retry_count=1),
        ]
        self._again = _client(token, base, retrying)

    def post(self, message: Message) -> Place:
        """As `Messenger.post`."""
        with _told():
            answer = self._once.chat_postMessage(
                channel=self._channel,
                text=message.text,
                blocks=message.blocks,
                metadata=message.metadata,
                unfurl_links=False,
                unfurl_media=False,
            )
        return Place(answer.get("channel") or self._channel, answer.get("ts"))

    def edit(self, place: Place, message: Message) -> None:
        """As `Messenger.edit`."""
        assert place.ts is not None
        with _told():
            self._again.chat_update(
                channel=place.channel or self._channel,
                ts=place.ts,
                text=message.text,
                blocks=message.blocks,
                metadata=message.metadata,
            )

    def reply(self, place: Place, message: Message) -> None:
        """As `Messenger.reply`."""
        assert place.ts is not None
        with _told():
            self._once.chat_postMessage(
                channel=place.channel or self._channel,
                thread_ts=place.ts,
                text=message.text,
                blocks=message.blocks,
                metadata=message.metadata,
                unfurl_links=False,
                unfurl_media=False,
            )

    def find(self, uid: str, *, since: datetime, channel: str | None) -> Place | None:
        """As `Messenger.find`. `channel` is the channel's id where it is known: history knows no names."""
        where = channel or self._channel
        try:
            return self._find(uid, where, since)
        except NotTold as problem:
            if not problem.gone or CHANNEL_ID.fullmatch(where):
                raise
        id_ = self._id_of(where)
        return self._find(uid, id_, since) if id_ else None

    def _find(self, uid: str, channel: str, since: datetime) -> Place | None:
        oldest, pages = f"{since.timestamp():.6f}", self._again.conversations_history
        for page in _pages(pages, channel=channel, oldest=oldest, include_all_metadata=True):
            for each in page["messages"]:
                said = each.get("metadata") or {}
                if (
                    said.get("event_type") == EVENT_TYPE
                    and said.get("event_payload", {}).get("uid") == uid
                ):
                    return Place(channel, each["ts"])
        return None

    def _id_of(self, name: str) -> str | None:
        bare = name.removeprefix("#")
        for page in _pages(self._again.conversations_list, types="public_channel,private_channel"):
            for each in page["channels"]:
                if each["name"] == bare:
                    return each["id"]
        return None


class Webhook:
    """An incoming webhook: it posts, and nothing else."""

    edits = False

    def __init__(self, url: str) -> None:
        self._client = WebhookClient(
            url, timeout=TIMEOUT_S, retry_handlers=[_ShortRest(max_retry_count=1)]
        )
        self._client.proxy = None  # the environment's own, which knows where no proxy may step in

    def post(self, message: Message) -> Place:
        """As `Messenger.post`."""
        with _told():
            answer = self._client.send(text=message.text, blocks=message.blocks, unfurl_links=False)
        if answer.status_code != 200:
            raise NotTold(
                f"Slack's webhook answered {answer.status_code} ({answer.body[:80].strip() or 'no text'}): "
                "check SLACK_WEBHOOK_URL",
                maybe=answer.status_code >= 500,
                retry_after_s=retry_after_s(answer.headers.get("Retry-After")),
            )
        return Place()

    def edit(self, place: Place, message: Message) -> None:
        """Never asked for."""
        raise NotTold("an incoming webhook cannot edit")

    def reply(self, place: Place, message: Message) -> None:
        """Never asked for."""
        raise NotTold("an incoming webhook has no threads")

    def find(self, uid: str, *, since: datetime, channel: str | None) -> Place | None:
        """Nothing: a webhook cannot look."""
        return None


def messenger(
    *,
    bot_token: SecretStr | None,
    channel: str | None,
    webhook_url: SecretStr | None,
    api_url: str | None,
) -> Messenger | None:
    """The bot where its token and channel are known, else the webhook; None without either."""
    if bot_token is not None and channel:
        return Bot(bot_token.get_secret_value(), channel, api_url)
    return Webhook(webhook_url.get_secret_value()) if webhook_url is not None else None


class _ShortRest(RateLimitErrorRetryHandler):
    """Waits out a short rate limit in place."""

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
        asked = {name.lower(): value for name, value in response.headers.items()}.get(
            "retry-after", ["1"]
        )
        wait = retry_after_s(asked[0] if isinstance(asked, list) else asked)
        return wait is not None and wait <= SHORT_REST_S


class _told:
    """Every way in which Slack can fail to answer, as NotTold."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if isinstance(error, SlackApiError):
            raise _refused(error) from error
        if isinstance(error, OSError | SlackClientError | http.client.HTTPException | ValueError):
            said = f"Slack gives no answer ({type(error).__name__}): check the network and SLACK_API_URL"
            raise NotTold(said, maybe=True) from error


def _refused(error: SlackApiError) -> NotTold:
    answer: Any = error.response
    data = getattr(answer, "data", answer)
    code = data.get("error", "") if isinstance(data, dict) else ""
    status = getattr(answer, "status_code", 200)
    headers = getattr(answer, "headers", {}) or {}
    if status == 429 or code in ("ratelimited", "rate_limited"):
        wait = retry_after_s(
            {name.lower(): value for name, value in headers.items()}.get("retry-after")
        )
        return NotTold(
            "Slack limits our rate: waiting as long as it asks for", retry_after_s=wait or 30
        )
    if not code or status >= 500 or code in UNSURE:
        return NotTold(
            f"Slack failed ({status} {code}): trying again".replace(" )", ")"), maybe=True
        )
    remedy = REMEDIES.get(code, "see its documentation for this code")
    return NotTold(f"Slack refused ({code}): {remedy}", gone=code in GONE)


def _client(token: str, base: str, handlers: list[Any]) -> WebClient:
    client = WebClient(token=token, base_url=base, timeout=TIMEOUT_S, retry_handlers=handlers)
    client.proxy = None  # the environment's own, which knows where no proxy may step in
    return client


def _pages(method: Any, **asked: Any) -> Iterator[Any]:
    cursor = ""
    for _ in range(MOST_PAGES):
        with _told():
            page = method(**asked, limit=PAGE, **({"cursor": cursor} if cursor else {}))
        yield page
        cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
        if not cursor:
            return
