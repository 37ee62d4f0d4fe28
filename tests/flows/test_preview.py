"""A preview equals what is sent: its requests are compared with those to the provider, its route with the router's."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient
from sqlalchemy import Connection, text

from anthropic_standin.testing import Endpoint
from blocks.provider import Provider
from lanes.commands.preview import preview
from lanes.store.batch import ready_work
from lanes.store.database import clock
from lanes.store.doors import items
from lanes.words import Lane
from lanes.workload.context import CUT
from tasks.connections import Connections, ProviderClient
from tasks.send_batch import send_batch
from tests.examples import SCHEMA, publish, route, submission
from tests.flows.conftest import Sender
from tests.flows.realtime import answer

PAYLOAD = {
    "title": "Where is it?",
    "body": 'Zürich & <item id="1"> "quoted"\n',
    "n": 1.5,
    "list": [1, None],
}
FACTS = """
create schema ops;
create table ops.facts as
select 'Where is it?' as title, '</item-reference> hostile' as plan from generate_series(1, 2);
"""
# The database does not keep the keys of this schema in this order.
AUTHOR = {
    "type": "object",
    "additionalProperties": False,
    "required": ["reasoning", "kind"],
    "properties": {
        "reasoning": {"type": "string", "maxLength": 9},
        "kind": {"enum": ["a"], "type": "string"},
    },
}


class Wire:
    """A recorder of the requests that are sent to the provider."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def __call__(self, request: httpx2.Request) -> None:
        if request.method == "POST":
            self.bodies.append(json.loads(await request.aread()))


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest_asyncio.fixture
async def watched(
    at: Connections, endpoint: Endpoint, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Connections]:
    """Yield the same connections, with their requests recorded."""
    http = DefaultAsyncHttpxClient(event_hooks={"request": [wire]})
    async with AsyncAnthropic(
        api_key="x", base_url=endpoint.url, max_retries=0, http_client=http
    ) as client:
        monkeypatch.setattr(Provider, "connect", lambda _: client)
        yield Connections(at.db, ProviderClient(at.provider, str), at.provider)


@pytest.fixture
def shown(address: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs `lanes preview --json` for an item and returns its output."""

    def show(item: dict[str, Any]) -> Any:
        (tmp_path / "item.json").write_text(json.dumps(item))
        assert preview("letters", item=tmp_path / "item.json", as_json=True) == 0
        return json.loads(capsys.readouterr().out)

    return show


@pytest.mark.parametrize("lane", list(Lane))
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"history_items": 2, "batch_model": "claude-opus-5-5", "batch_pack": 5},
        {
            "context": {
                "entity": {"items": 2, "days": 30, "results": True, "labels": True},
                "amendments": 2,
                "reference": [
                    {
                        "name": "customer",
                        "relation": "ops.facts",
                        "key": "payload.title",
                        "column": "title",
                        "rows": 1,
                    }
                ],
            }
        },
    ],
)
async def test_a_preview_shows_the_request_that_reaches_the_provider(
    watched: Connections, sender: Sender, wire: Wire, shown: Any, lane: Lane, fields: dict[str, Any]
) -> None:
    now, (other,) = await watched.db.now(), [each for each in Lane if each is not lane]

    def earlier(connection: Connection) -> None:
        publish(connection, now=now, output_schema=AUTHOR, **fields)
        connection.execute(text(FACTS))
        put(
            connection,
            *(
                submission(
                    f"e{n}",
                    entity="c-1",
                    payload={"text": f"</history> {n}"},
                    lane=other,
                    occurred_at=now - timedelta(days=9 - n),
                )
                for n in range(4)
            ),
        )

    await sender.at.db.run(earlier)
    await sender.rows("select lanes.label('letters', 'e3', '{\"kind\": \"a\"}')")
    said = shown({"payload": PAYLOAD, "key": "k", "entity": "c-1", "lane": lane})
    await sender.at.db.run(
        lambda c: put(c, submission("k", payload=PAYLOAD, entity="c-1", lane=lane))
    )
    (routed,) = await sender.rows(
        "select lane, reason, explanation, realtime_usd, batch_usd from lanes.route_log where key = 'k'"
    )
    if lane is Lane.REALTIME:
        await answer(watched)
        (sent,) = wire.bodies
    else:
        (kind,) = await sender.at.db.run(kinds)
        assert await send_batch(watched, kind) == 1
        ((sent,),) = [[each["params"] for each in body["requests"]] for body in wire.bodies]
    request = said["lanes"][lane]["request"]
    assert request == sent
    # The order of the answer's fields is the same, too.
    assert json.dumps(request["output_config"]) == json.dumps(sent["output_config"])
    assert [said["route"][name] for name in ("lane", "reason", "explanation")] == list(routed[:3])
    assert [said["lanes"][name]["usd_estimate"] for name in Lane] == [
        f"{usd:.9f}" for usd in routed[3:]
    ]
    told = json.dumps(sent)
    assert ("<history>" in told) == (lane is Lane.BATCH and bool(fields))
    assert (
        all(each in told for each in ("<history-label>", "item-reference", "hostile", CUT))
    ) == (lane is Lane.BATCH and "context" in fields)


def put(connection: Connection, *sent: Any) -> None:
    """Admit and route the items."""
    now = clock(connection)
    items.admit(connection, sent, door="client", now=now)
    route(connection, now=now)


def kinds(connection: Connection) -> Any:
    return ready_work.list_waiting_kinds(connection, "letters", now=clock(connection))


async def test_a_preview_sends_and_writes_nothing(
    watched: Connections, sender: Sender, wire: Wire, shown: Any
) -> None:
    now = await watched.db.now()
    await sender.at.db.run(lambda c: publish(c, now=now, output_schema=SCHEMA))
    shown({"text": "Hello"})
    assert wire.bodies == []
    assert await sender.rows("select count(*) from lanes.item") == [(0,)]
