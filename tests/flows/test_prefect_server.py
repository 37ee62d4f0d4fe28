"""The stand's own Prefect server: the guard in front of its app, and the events that it stores."""

from datetime import UTC, datetime
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

UI = "http://127.0.0.1:4200"
OPS = "https://ops.example.com"


def door(*origins: str) -> ASGIApp:
    """Return an app that answers "yes" to all requests, behind the guard for pages of these origins."""
    from tasks.prefect_server import guard  # loads Prefect's whole server: 2 s

    async def answers(opened: WebSocket) -> None:
        await opened.accept()
        await opened.send_text("yes")
        await opened.close()

    async def page(_: object) -> PlainTextResponse:
        return PlainTextResponse("yes")

    return guard(
        Starlette(routes=[Route("/{path:path}", page), WebSocketRoute("/{path:path}", answers)]),
        origins,
    )


def asked(app: ASGIApp, path: str = "/api/flows", **headers: str) -> httpx2.Response:
    return TestClient(app, base_url=UI).get(
        path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def socket(app: ASGIApp, path: str, **headers: str) -> WebSocketTestSession:
    return TestClient(app).websocket_connect(UI.replace("http", "ws") + path, headers=headers)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4200", 200),
        ("127.0.0.1", 200),
        ("ops.example.com", 200),
        ("OPS.example.com:443", 200),
        ("foreign.test", 400),
        ("foreign.test:4200", 400),
        ("127.0.0.1.foreign.test", 400),
        ("x127.0.0.1", 400),
        ("www.ops.example.com", 400),
        ("example.com", 400),
        ("foreign.test@127.0.0.1", 400),
        ("[::1]", 400),
        ("", 400),
    ],
)
def test_the_server_accepts_requests_only_under_its_own_names(host: str, status: int) -> None:
    assert asked(door(UI, OPS), host=host).status_code == status
    assert asked(door(UI, OPS), host=host, sec_fetch_mode="navigate").status_code == status


@pytest.mark.parametrize(
    ("origin", "opens"),
    [
        (None, True),
        (UI, True),
        (OPS, True),
        ("https://foreign.test", False),
        ("null", False),
        ("", False),
        ("http://127.0.0.1:4201", False),
        ("http://127.0.0.1", False),
        ("https://127.0.0.1:4200", False),
        (f"{OPS}.foreign.test", False),
        ("http://ops.example.com", False),
    ],
)
def test_a_web_socket_opens_to_programs_and_to_pages_of_the_server(
    origin: str | None, opens: bool
) -> None:
    headers = {} if origin is None else {"origin": origin}
    for path in ("/api/events/in", "/api/events/out", "/api/logs/out"):
        if opens:
            with socket(door(UI, OPS), path, **headers) as opened:
                assert opened.receive_text() == "yes"
        else:
            with (
                pytest.raises(WebSocketDisconnect) as refused,
                socket(door(UI, OPS), path, **headers),
            ):
                pass
            assert refused.value.code == 1008


def test_a_web_socket_under_a_foreign_name_is_refused() -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        socket(door(UI), "/api/events/in", host="foreign.test"),
    ):
        pass
    assert refused.value.status_code == 400


def test_a_server_that_allows_all_origins_still_checks_the_host() -> None:
    app = door(UI, "*")
    with socket(app, "/api/events/in", origin="https://foreign.test") as opened:
        assert opened.receive_text() == "yes"
    assert asked(app, host="foreign.test").status_code == 400


def test_a_page_that_a_person_opens_begins_with_the_login_and_cannot_be_framed() -> None:
    for path in ("/", "/v2/deployments/deployment/1/run?parameters=%7B%7D", "/apiary"):
        page = asked(door(UI), path, sec_fetch_mode="navigate", sec_fetch_dest="document")
        assert "Log in to Prefect" in page.text
        assert page.headers["content-security-policy"] == "frame-ancestors 'none'"
        assert page.headers["cache-control"] == "no-store"
        assert asked(door(UI), path, sec_fetch_mode="cors").text == "yes"
        assert asked(door(UI), path).text == "yes"
    for path in ("/api", "/api/health"):
        assert asked(door(UI), path, sec_fetch_mode="navigate").text == "yes"


@pytest.mark.slow  # loads Prefect's whole server
@pytest.mark.parametrize("bad", [{"text": "a\u0000b"}, {"text": "x" * 20_000}])
async def test_events_that_postgres_refuses_are_left_out_and_harm_no_neighbour(
    own_database_url: str, bad: dict[str, str]
) -> None:
    from prefect.server.events.schemas.events import ReceivedEvent

    from tasks.prefect_server import leave_out_refused

    async def write(session: AsyncSession, events: list[ReceivedEvent]) -> None:
        rows = [{"name": each.event, "payload": each.payload["text"]} for each in events]
        await session.execute(text("insert into stored values (:name, :payload)"), rows)

    def event(name: str, payload: dict[str, str]) -> ReceivedEvent:
        resource = {"prefect.resource.id": "a"}
        given = {"occurred": datetime.now(UTC), "event": name, "resource": resource}
        return ReceivedEvent.model_validate({**given, "payload": payload, "id": uuid4()})

    url = make_url(own_database_url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url)
    wanted = [f"good {n}" for n in range(5)]
    events = [event(name, {"text": "fine"}) for name in wanted]
    for place in (5, 3, 2, 0):
        events.insert(place, event("bad", bad))
    async with engine.begin() as connection:
        await connection.execute(text("create table stored (name text, payload text)"))
        # Postgres would compress a long text of one character, and it would fit.
        await connection.execute(text("alter table stored alter payload set storage external"))
        await connection.execute(text("create index on stored (payload)"))
    async with AsyncSession(engine) as session:
        await leave_out_refused(write)(session, events)
        await session.commit()
        assert [*await session.scalars(text("select name from stored"))] == wanted
        await session.execute(text("drop table stored"))
        # No event causes this error, so Prefect writes all of them again.
        with pytest.raises(DBAPIError):
            await leave_out_refused(write)(session, events)
    await engine.dispose()
