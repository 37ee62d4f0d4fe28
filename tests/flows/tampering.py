"""A proxy between the SDK and the stand-in that changes the stand-in's answers."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Lines = list[dict[str, Any]]


class Tampering:
    """A proxy that forwards everything; a test may change messages, result lines and the views of single batches."""

    def __init__(self, upstream: str) -> None:
        self.body: Callable[[bytes], bytes] = lambda body: body
        self.message: Callable[[bytes], bytes] = lambda body: body
        self.view: Callable[[dict[str, Any]], dict[str, Any]] = lambda view: view
        self.reads: list[str] = []  # ids of the batches whose results were requested

        class TamperingHandler(BaseHTTPRequestHandler):
            # Send each answer as a whole: half an answer waits 40 ms for its acknowledgement.
            wbufsize = -1

            def do_GET(self) -> None:
                tampering._pass_on(self, upstream)

            def do_POST(self) -> None:
                tampering._pass_on(self, upstream)

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing."""

        tampering = self
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), TamperingHandler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def lines(self, change: Callable[[Lines], Lines]) -> None:
        """Pass the result lines through `change` from now on."""
        self.body = lambda body: b"".join(
            json.dumps(line).encode() + b"\n"
            for line in change([json.loads(line) for line in body.splitlines()])
        )

    def honest(self) -> None:
        """Forward everything unchanged from now on."""
        self.body, self.view, self.message = lambda body: body, lambda view: view, lambda body: body

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _pass_on(self, to: BaseHTTPRequestHandler, upstream: str) -> None:
        sent = to.rfile.read(int(to.headers.get("content-length") or 0))
        request = urllib.request.Request(
            upstream + to.path, data=sent or None, method=to.command, headers=dict(to.headers)
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, kind, body = answer.status, answer.headers["content-type"], answer.read()
        except urllib.error.HTTPError as error:
            status, kind, body = error.code, error.headers["content-type"], error.read()
        if status == 200 and to.command == "GET" and to.path.endswith("/results"):
            self.reads.append(to.path.split("/")[-2])
            body = self.body(body)
        elif status == 200 and to.command == "GET" and "/batches/" in to.path:
            body = json.dumps(self.view(json.loads(body))).encode()
        elif status == 200 and to.command == "POST" and to.path.endswith("/messages"):
            body = self.message(body)
        to.send_response(status)
        to.send_header("content-type", kind)
        to.send_header("content-length", str(len(body)))
        to.end_headers()
        to.wfile.write(body)
