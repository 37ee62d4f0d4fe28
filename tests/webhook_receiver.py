"""A program that receives webhooks over HTTP, verifies them with the library, and fails as real programs do."""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from lanes.store import outbox, webhooks
from lanes.store.database import Database
from lanes.webhooks import USUAL, WebhookKeys
from tasks.webhooks import Deliverer
from tests.conftest import NOON

RESOURCE = "lanes.workload.letters"
Verdict = int | str  # a status, "hangs" or "resets"
Event = dict[str, Any]


class Receiver:
    """A receiver that accepts every event unless `says` returns another verdict; `taken` holds accepted events in order."""

    def __init__(self, *, certificate: Path | None = None) -> None:
        # an event must be signed with each; empty: nothing is verified
        self.secrets: list[str] = []
        self.says: Callable[[Event], Verdict] = lambda _: 200
        self.location = self.retry_after = ""
        self.hosts: list[str] = []  # the Host header of each request, in order
        self.ids: list[str] = []  # the webhook-id of each request, in order
        self.asked: list[Event] = []
        self.taken: list[Event] = []
        self._ending, self._lock = threading.Event(), threading.Lock()
        receiver = self

        class HookHandler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver._receive(self)

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                return

        class HookServer(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 100

            def handle_error(self, request: Any, client_address: Any) -> None:
                return

        self._server = HookServer(("127.0.0.1", 0), HookHandler)
        if certificate is not None:
            speaks = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            speaks.load_cert_chain(certificate)
            self._server.socket = speaks.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hooks?token=t-1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop the server, and release hanging requests."""
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def keys(self) -> list[str]:
        """The item keys of the accepted events, in order."""
        return [each["data"]["key"] for each in self.taken]

    def _receive(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        event = json.loads(body or b"{}")
        for secret in self.secrets:
            Webhook(secret).verify(body, dict(request.headers))
        with self._lock:
            self.hosts.append(request.headers["host"])
            self.ids.append(request.headers["webhook-id"])
            self.asked.append(event)
            verdict = self.says(event)
            if verdict == 200:
                self.taken.append(event)
        if verdict == "hangs":
            self._ending.wait(20)
            return
        if verdict == "resets":
            at_once = struct.pack("ii", 1, 0)
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            request.close_connection = True
            request.connection.close()
            return
        request.send_response(int(verdict))
        for name, value in (("Location", self.location), ("Retry-After", self.retry_after)):
            if value:
                request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()


class Subscribers:
    """The webhooks of a test; their keys are stored here instead of in a Prefect block."""

    def __init__(self, db: Database) -> None:
        self.db, self.keys, self.loads = db, dict[str, WebhookKeys](), 0
        self._running = list[Deliverer]()

    async def add(self, receiver: Receiver, name: str = "crm", **values: Any) -> None:
        """Add the receiver as a subscriber."""
        self.keys[name] = keys = WebhookKeys.new(receiver.url)
        receiver.secrets = [keys.secrets[0][0]]
        about = {"host": "h", "types": list(USUAL), "workload": None}
        about |= {"consumer": None, "allows_private": True, "sends_outputs": False}
        async with self.db.transaction() as run:
            await run(webhooks.add, name=name, **{**about, **values}, now=run.now)

    async def load(self, name: str) -> WebhookKeys:
        self.loads += 1
        return self.keys[name]

    def deliverer(self, **how: Any) -> Deliverer:
        """Return a process that delivers; it lives until it is killed or the test ends."""
        self._running.append(Deliverer(self.db, keys=self.load, **{"timeout_s": 5.0, **how}))
        return self._running[-1]

    async def kill(self, process: Deliverer) -> None:
        """End the session that proves that a process is alive."""
        self._running.remove(process)
        await process._alive.release()

    async def close(self) -> None:
        """Close all processes."""
        for each in self._running:
            await each.close()
        self._running.clear()

    async def told(self, *keys: str, event: str = "lanes.item.answered", **payload: Any) -> None:
        """Commit an event about each item key, each in a transaction of its own."""
        for key in keys:
            out = outbox.EventOut(event, RESOURCE, {"key": key, **payload})
            await self.db.run(outbox.add, [out], now=NOON)

    async def one(self, name: str = "crm") -> Any:
        return next(
            each for each in await self.db.run(webhooks.list_subscribers) if each.name == name
        )
