"""The stand's own Prefect server: Prefect's app, which requires a login, behind the protection that Prefect lacks.

    python -m tasks.prefect_server --port 4200

The server refuses a request for a foreign host name (DNS rebinding), and a web socket that a foreign page opens, because
browsers do not apply CORS to web sockets. Every page that a person opens starts with our own login page, because Prefect's
login loses the query of the page. Prefect does the rest: 401 without a login, and no CORS header for a foreign page.

An event that Postgres refuses, such as one with a NUL in its payload, is not stored. Prefect alone would retry it again and
again, together with all later events, and finally drop them all.
"""

import argparse
import logging
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from prefect.server.api.server import create_app
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.server.events.services import event_persister
from prefect.settings import get_current_settings
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

# SQLSTATE classes for which the event is at fault: data that does not fit a type, and values that do not fit an index.
REFUSED = ("22", "54")
LOOPBACK = "127.0.0.1"
API = "/api"
ANY = "*"
LOGIN = HTMLResponse(
    Path(__file__).with_name("prefect_login.html").read_text(),
    headers={"Cache-Control": "no-store", "Content-Security-Policy": "frame-ancestors 'none'"},
)


class FrontDoor:
    """An app whose pages start with the login, and whose web sockets accept only programs and pages of these origins."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answers(scope)(scope, receive, send)

    def _answers(self, scope: Scope) -> ASGIApp:
        match scope["type"]:
            case "http" if is_visit(scope):
                return LOGIN
            case "websocket" if not self._may_open(Headers(scope=scope).get("origin")):
                return WebSocketClose(1008, "foreign origin")
            case _:
                return self._app

    def _may_open(self, origin: str | None) -> bool:
        return origin is None or origin in self._origins or ANY in self._origins


def is_visit(scope: Scope) -> bool:
    """Return whether a person opens a page; browsers send `Sec-Fetch-Mode: navigate` only then, not for a page's requests."""
    navigates = Headers(scope=scope).get("sec-fetch-mode") == "navigate"
    return navigates and not f"{scope['path']}/".startswith(f"{API}/")


def guard(app: ASGIApp, origins: Collection[str]) -> ASGIApp:
    """Return the app behind the login and checks: it accepts only the host names and pages of these origins, and programs."""
    names = {urlsplit(each).hostname for each in origins if each != ANY}
    door, hosts = FrontDoor(app, origins), [*filter(None, names)]
    return TrustedHostMiddleware(door, hosts, www_redirect=False)


WriteEvents = Callable[[AsyncSession, list[ReceivedEvent]], Awaitable[None]]


def leave_out_refused(write: WriteEvents) -> WriteEvents:
    """Wrap Prefect's `write_events` in a function that skips and logs events that Postgres refuses."""

    async def write_accepted(session: AsyncSession, events: list[ReceivedEvent]) -> None:
        try:
            async with session.begin_nested():
                await write(session, events)
        except DBAPIError as error:
            if not str(getattr(error.orig, "sqlstate", "")).startswith(REFUSED):
                raise
            if len(events) > 1:
                half = len(events) // 2
                await write_accepted(session, events[:half])
                await write_accepted(session, events[half:])
                return
            left_out = "event %s is not stored, because Postgres refuses it: %s"
            logging.getLogger(__name__).warning(left_out, events[0].id, error.orig)

    return write_accepted


def main() -> None:
    """Serve until stopped. All settings but the port are Prefect's own."""
    parser = argparse.ArgumentParser(description="Serves the stand's own Prefect.")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    # Prefect's persister looks the function up in its module, so that it can be replaced there.
    event_persister.write_events = leave_out_refused(event_persister.write_events)  # pyright: ignore[reportPrivateImportUsage]
    server = get_current_settings().server
    # The server's own services call the app by an internal host name, so the guard wraps the app instead of being inside it.
    origins = [each.strip() for each in server.api.cors_allowed_origins.split(",")]
    app = guard(create_app(final=True), origins)
    uvicorn.run(
        app,
        host=LOOPBACK,
        port=port,
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
