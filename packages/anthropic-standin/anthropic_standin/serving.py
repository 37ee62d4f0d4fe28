"""The stand-in as a process: one address, one ready line, and a clean end on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from anthropic_standin.app import App
from anthropic_standin.catalogue import ENGINE_WORDS
from anthropic_standin.engine import open_engine
from anthropic_standin.exchange import TRANSPORT, Receive, Scope, Send
from anthropic_standin.limits import EndpointSettings

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
GRACE_S = 3
SWITCH_S = 0.001
"""How long the batch thread may keep the interpreter from the event loop."""


class _Protocol(HttpToolsProtocol):
    """A protocol that lets the application close its connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # pyright: ignore[reportAssignmentType]
        scope[TRANSPORT] = self.transport


class _Server(uvicorn.Server):
    """A server that prints a line when it is ready, and ends on signals with exit status 0."""

    def __init__(self, config: uvicorn.Config, ready_line: str) -> None:
        super().__init__(config)
        self._ready_line = ready_line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._ready_line, flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, setattr, self, "should_exit", True)
        yield


@contextlib.contextmanager
def sole_user_of(home: Path) -> Iterator[None]:
    """Lock this directory against other stand-ins; SystemExit with a message if another one already uses it."""
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)  # it contains the texts of requests
    with (home / "endpoint.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"Another local stand-in uses {home}; stop it or give this one another --home")
        yield


def serve(
    *,
    home: Path,
    port: int,
    host: str,
    engine_name: str,
    settings: EndpointSettings,
    conformance: bool,
) -> None:
    """Serve until SIGTERM or SIGINT; print `READY http://127.0.0.1:PORT` and the engine once."""
    sys.setswitchinterval(SWITCH_S)
    with sole_user_of(home), listening(port, host) as listener:
        engine = open_engine(engine_name, home)
        app = App(home=home, engine=engine, settings=settings, conformance=conformance)
        ready_line = f"READY {address(listener)} local stand-in ({ENGINE_WORDS[app.engine_name]})"
        try:
            asyncio.run(_Server(configured(app), ready_line).serve(sockets=[listener]))
        finally:
            app.close()


def listening(port: int = 0, host: str = "127.0.0.1") -> socket.socket:
    """Return a listening socket with an explicit TCP protocol.

    Only then does asyncio disable Nagle's algorithm, which would delay each answer by 40 ms.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(1024)
    return listener


def address(listener: socket.socket) -> str:
    """Return the base URL of the server."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def configured(app: Application) -> uvicorn.Config:
    """Return the settings of the server: all headers and log lines come from the application."""
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_S,
    )
