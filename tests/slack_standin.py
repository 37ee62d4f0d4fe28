"""A stand-in for Slack: it records messages, enforces the limits of Slack that matter here, and fails on request."""

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

TOKEN = "xoxb-stand-in"
CHANNEL = "#lanes-alerts"
CHANNEL_ID = "C0LANES01"
METHODS = (
    "auth.test",
    "chat.postMessage",
    "chat.update",
    "conversations.history",
    "conversations.list",
    "conversations.replies",
)


@dataclass
class PostedMessage:
    """A message in its current form. `edits` holds its earlier texts."""

    ts: str
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any]
    edits: list[str] = field(default_factory=list)
    channel: str = CHANNEL_ID

    @property
    def payload(self) -> dict[str, Any]:
        """The event payload of the message's metadata."""
        return self.metadata.get("event_payload", {})


@dataclass
class SlackFault:
    """The failure of a method's next calls: a status, an error code, or `lost`, which executes a call without answering it."""

    method: str
    status: int = 200
    error: str | None = None
    lost: bool = False
    retry_after: int | None = None
    times: int = 1


class SlackStandIn:
    """A running stand-in. Its address for SLACK_API_URL is `api_url`, for SLACK_WEBHOOK_URL `webhook_url`."""

    def __init__(self, *, clock: Callable[[], datetime] | None = None) -> None:
        """Start the stand-in; `clock` sets the timestamps of its messages.

        Without a clock they lie far in the future, so that no message is ever too old.
        """
        self._clock = clock
        self.channels = {CHANNEL: CHANNEL_ID}
        self.messages: list[PostedMessage] = []
        self.replies: list[tuple[str, PostedMessage]] = []
        self.hooked: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.pinged: list[str] = []
        self._faults: list[SlackFault] = []
        self._room: int | None = None
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        standin = self

        class SlackHandler(BaseHTTPRequestHandler):
            # Send an answer in one piece: half of one would wait 40 ms for its acknowledgement.
            wbufsize = -1

            def do_POST(self) -> None:
                standin._serve(self)

            def do_GET(self) -> None:
                standin.pinged.append(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), SlackHandler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def webhook_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/T0/B0/secret"

    def environment(self) -> dict[str, str]:
        """Return the settings that point a stand to this Slack."""
        return {"SLACK_BOT_TOKEN": TOKEN, "SLACK_CHANNEL": CHANNEL, "SLACK_API_URL": self.api_url}

    def fail(self, method: str, **how: Any) -> None:
        """Let the next calls of the method ("webhook" for the webhook) fail as described."""
        with self._lock:
            self._faults.append(SlackFault(method, **how))

    def allow(self, posts: int | None) -> None:
        """Allow this many more posts, then ask senders to retry in a minute; None removes the limit."""
        with self._lock:
            self._room = posts

    def about(self, incident_id: int) -> list[PostedMessage]:
        """Return the messages about an incident."""
        return [each for each in self.messages if each.payload.get("incident_id") == incident_id]

    def stop(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        method = (
            "webhook"
            if request.path.startswith("/services/")
            else request.path.removeprefix("/api/")
        )
        with self._lock:
            self.calls.append(method)
            fault = next(
                (each for each in self._faults if each.method == method and each.times > 0), None
            )
            if fault is not None:
                fault.times -= 1
            elif self._room is not None and method in ("chat.postMessage", "webhook"):
                self._room -= 1
                fault = (
                    SlackFault(method, 429, "ratelimited", retry_after=60)
                    if self._room < 0
                    else None
                )
            refused = fault is not None and not fault.lost
            answer: Any = (
                {"ok": False, "error": fault.error or "internal_error"}
                if fault and refused
                else None
            )
            if answer is None:
                answer = self._answer(
                    method, request.headers.get("Authorization"), _fields(request, body)
                )
        if fault is not None and fault.lost:
            request.close_connection = True
            request.connection.close()
            return
        text = answer if isinstance(answer, str) else json.dumps(answer)
        if method == "webhook" and fault is not None:
            text = fault.error or "server_error"
        unknown = isinstance(answer, dict) and answer.get("error") == "unknown_method"
        request.send_response(fault.status if fault is not None else 404 if unknown else 200)
        if fault is not None and fault.retry_after is not None:
            request.send_header("Retry-After", str(fault.retry_after))
        request.send_header(
            "Content-Type", "text/plain" if method == "webhook" else "application/json"
        )
        request.send_header("Content-Length", str(len(text.encode())))
        request.end_headers()
        request.wfile.write(text.encode())

    def _answer(self, method: str, authorization: str | None, said: dict[str, Any]) -> Any:
        if method == "webhook":
            if wrong := invalid(said.get("blocks", [])):
                return wrong
            self.hooked.append(said)
            return "ok"
        if method not in METHODS:
            return {"ok": False, "error": "unknown_method"}
        if authorization != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        match method:
            case "auth.test":
                return {"ok": True, "user_id": "U0LANES", "team": "stand-in"}
            case "chat.postMessage" | "chat.update":
                return self._write(method, said)
            case "conversations.list":
                return {
                    "ok": True,
                    "channels": [
                        {"id": id_, "name": name.removeprefix("#")}
                        for name, id_ in self.channels.items()
                    ],
                }
            case "conversations.history" | "conversations.replies" if (
                said.get("channel") in self.channels.values()
            ):
                replies = [each for thread, each in self.replies if thread == said.get("ts")]
                found = [
                    each
                    for each in reversed(replies if method.endswith("replies") else self.messages)
                    if float(each.ts) >= float(said.get("oldest") or 0)
                    and each.channel == said["channel"]
                ]
                shown = said.get("include_all_metadata") in (True, "1", "true")
                start, most = int(said.get("cursor") or 0), int(said.get("limit") or 100)
                told = [
                    {"ts": e.ts, "text": e.text, **({"metadata": e.metadata} if shown else {})}
                    for e in found[start : start + most]
                ]
                more = str(start + most) if start + most < len(found) else ""
                return {"ok": True, "messages": told, "response_metadata": {"next_cursor": more}}
            case _:
                return {"ok": False, "error": "channel_not_found"}

    def say(self, text: str, *, at: datetime) -> None:
        """Post the text in the channel as another user."""
        self.messages.append(
            PostedMessage(f"{int(at.timestamp())}.{next(self._numbers):06d}", text, [], {})
        )

    def _ts(self) -> str:
        seconds = 4_000_000_000 if self._clock is None else int(self._clock().timestamp())
        return f"{seconds}.{next(self._numbers):06d}"

    def _write(self, method: str, said: dict[str, Any]) -> dict[str, Any]:
        if wrong := invalid(said.get("blocks", [])):
            return {"ok": False, "error": wrong}
        metadata = said.get("metadata") or {}
        if metadata and not {"event_type", "event_payload"} <= metadata.keys():
            return {"ok": False, "error": "invalid_metadata_format"}
        if method == "chat.postMessage":
            channel = str(self.channels.get(said["channel"], said["channel"]))
            if channel not in self.channels.values():
                return {"ok": False, "error": "channel_not_found"}
            message = PostedMessage(self._ts(), said["text"], said["blocks"], metadata)
            message.channel = channel
            if thread := said.get("thread_ts"):
                # the channel's history does not include replies
                self.replies.append((thread, message))
            else:
                self.messages.append(message)
            return {"ok": True, "channel": channel, "ts": message.ts}
        if said["channel"] not in self.channels.values():
            return {"ok": False, "error": "channel_not_found"}
        at = said["channel"], said["ts"]
        found = next((each for each in self.messages if (each.channel, each.ts) == at), None)
        if found is None:
            return {"ok": False, "error": "message_not_found"}
        found.edits.append(found.text)
        found.text, found.blocks, found.metadata = (
            said["text"],
            said["blocks"],
            metadata or found.metadata,
        )
        return {"ok": True, "channel": found.channel, "ts": found.ts}


def _fields(request: BaseHTTPRequestHandler, body: bytes) -> dict[str, Any]:
    if "json" in (request.headers.get("Content-Type") or ""):
        return json.loads(body)
    fields: dict[str, Any] = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    return {n: json.loads(v) if n in ("blocks", "metadata") else v for n, v in fields.items()}


def invalid(blocks: list[dict[str, Any]]) -> str | None:
    """Return Slack's error for blocks that exceed its limits, or None."""
    return None if len(blocks) <= 50 and all(map(_fits, blocks)) else "invalid_blocks"


def _fits(block: dict[str, Any]) -> bool:
    match block["type"]:
        case "header":
            return block["text"]["type"] == "plain_text" and 0 < len(block["text"]["text"]) <= 150
        case "section":
            fields = block.get("fields", [])
            texts = [each["text"] for each in fields]
            return (
                len(fields) <= 10
                and all(0 < len(each) <= 2000 for each in texts)
                and _within(block.get("text"), 3000)
            )
        case "context":
            return 0 < len(block["elements"]) <= 10 and all(
                _within(each, 3000) for each in block["elements"]
            )
        case "actions":
            return 0 < len(block["elements"]) <= 25 and _buttons_fit(block["elements"])
        case "rich_text":
            texts = rich_texts(block)
            return bool(texts) and all(texts) and sum(map(len, texts)) <= 4000
        case _:
            return False


def _within(text: dict[str, Any] | None, most: int) -> bool:
    return text is None or (text["type"] == "mrkdwn" and 0 < len(text["text"]) <= most)


def _buttons_fit(buttons: list[dict[str, Any]]) -> bool:
    named = {each["action_id"] for each in buttons}
    return len(named) == len(buttons) and all(
        each["url"].startswith("http")
        and len(each["url"]) <= 3000
        and 0 < len(each["text"]["text"]) <= 75
        for each in buttons
    )


def rich_texts(block: dict[str, Any]) -> list[str]:
    """Return every text in a block of rich text, in order."""
    if block["type"] == "text":
        return [block["text"]]
    if block["type"] == "channel":
        return [f"<#{block['channel_id']}>"]
    return [text for each in block.get("elements", []) for text in rich_texts(each)]


def shown(blocks: list[dict[str, Any]]) -> str:
    """Return the visible text of a message, without markup."""
    lines: list[str] = []
    for block in blocks:
        match block["type"]:
            case "rich_text":
                lines += [_line(each) for each in block["elements"]]
            case "actions":
                lines += [f"[{each['text']['text']}] {each['url']}" for each in block["elements"]]
            case _:
                texts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
                lines += [each["text"] for each in texts if each]
    return "\n".join(lines)


def _line(element: dict[str, Any]) -> str:
    if element["type"] == "rich_text_list":
        return " ".join(f"- {''.join(rich_texts(each))}" for each in element["elements"])
    return "".join(rich_texts(element))
