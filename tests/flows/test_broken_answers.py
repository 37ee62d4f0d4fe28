"""Broken answers on both lanes: each harms only its own item, its neighbours settle, and all billed calls are recorded."""

import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from anthropic_standin.testing import Endpoint
from blocks.provider import Provider
from lanes.batch.batch import OpenBatch
from lanes.ids import BatchId
from lanes.store.database import Database
from lanes.words import Lane, Outcome
from tasks import collect
from tasks.connections import Connections, opening
from tests.flows.batches import submit_and_end
from tests.flows.conftest import Sender
from tests.flows.realtime import answer
from tests.flows.tampering import Tampering
from tests.hostile.answers import KINDS, FieldKind, lines, spoiled_line, views, written
from tests.provider.test_results import VIEW

RIGHT = [f"right{number}" for number in range(11)]
BOOKED = """
select a.key, a.outcome, a.cost_usd, a.bound_usd, s.message_id is not null as billed
  from lanes.attempt_log a left join lanes.spend s on s.message_id = a.message_id
"""
# Ids of messages: a repeated id of another call is a bill of its own.
NAMES = st.sampled_from(["msg_same", "msg_other"])
BALANCE = """
select (select coalesce(sum(cost_usd), 0) from lanes.attempt_log) = (select coalesce(sum(cost_usd), 0) from lanes.spend),
       not exists (select from lanes.spend where least(cost_usd, input_tokens, output_tokens, cache_read_tokens,
                                                       cache_write_tokens) < 0),
       not exists (select from lanes.attempt where least(cost_usd, bound_usd) < 0)
"""
runs = count()
NONCE = "cafecafecafecafe"  # placeholder in drawn lines for the nonce of the batch


@pytest.fixture
def tampering(endpoint: Endpoint) -> Iterator[Tampering]:
    between = Tampering(endpoint.url)
    yield between
    between.stop()


@pytest_asyncio.fixture
async def at(db: Database, tampering: Tampering) -> AsyncIterator[Connections]:
    block = Provider(api_key=SecretStr("x"), base_url=tampering.url, poll_s=0.2, listing_grace_s=5)
    async with opening(block) as client:
        yield Connections(db, client, block)


async def submitted(
    at: Connections, endpoint: Endpoint, sender: Sender, keys: Sequence[str], **spec: Any
) -> OpenBatch:
    """Submit a batch of these items and return it once it has ended at the provider."""
    await sender.items(*keys, lane=Lane.BATCH, **spec)
    return await submit_and_end(at, endpoint, spec.get("workload"))


async def brought_home(at: Connections, sender: Sender, batch: OpenBatch) -> None:
    """Read the results until the batch is closed: three times if some cannot be read."""
    for _ in range(2):
        try:
            await collect.bring_home(at, batch)
            return
        except collect.ShortRead:
            sender.time.passes(minutes=1)
    await collect.bring_home(at, batch)


async def request_of(sender: Sender, batch: BatchId) -> dict[str, int]:
    """Return the number of each item's request by key."""
    rows = await sender.rows(
        "select i.key, m.request_no from lanes.batch_member m join lanes.work w on w.id = m.work_id"
        " join lanes.item i on i.id = w.item_id where m.batch_id = :id",
        id=batch,
    )
    return {str(key): int(str(number)) for key, number in rows}


def spoiling(told: Callable[[dict[str, Any], int], bytes], nonce: str) -> Callable[[bytes], bytes]:
    """Return a rewriter of results; `told` makes each line from the honest line and the number of its request."""

    def body(honest: bytes) -> bytes:
        numbered = {
            int(line["custom_id"].removeprefix(f"{nonce}-").rpartition("-")[2]): line
            for line in map(json.loads, honest.splitlines())
        }
        return b"".join(told(line, number) + b"\n" for number, line in numbered.items())

    return body


async def harmed(sender: Sender, spoiled: dict[str, FieldKind]) -> list[str]:
    """Describe each item with a wrong outcome; `spoiled` contains the kind of each broken answer by key."""
    rows = {str(key): rest for key, *rest in await sender.rows(BOOKED)}
    wrong: list[str] = []
    for key, state in (await sender.states()).items():
        kind = spoiled.get(key)
        outcome, usd, bound, billed = rows[key]
        if kind is None or kind.is_answered:
            fine = (state, outcome, billed) == ("settled", "valid", True)
        elif kind.is_billed:
            fine = (state, outcome, billed) == ("routed", "invalid", True) and Decimal(str(usd)) > 0
        else:
            fine = (state, outcome, billed) == ("routed", "unknown", False) and Decimal(
                str(bound)
            ) > 0
        if not fine:
            wrong.append(f"{key} ({kind.name if kind else 'right'}): {state}, {rows[key]}")
    return wrong


async def test_a_batch_with_every_kind_of_broken_answer_is_collected_and_harms_no_neighbour(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering
) -> None:
    spoiled = {f"k{number:03}": kind for number, kind in enumerate(KINDS.values())}
    batch = await submitted(at, endpoint, sender, [*spoiled, *RIGHT])
    numbers = await request_of(sender, batch.id)
    by_number = {numbers[key]: kind for key, kind in spoiled.items()}

    def told(line: dict[str, Any], number: int) -> bytes:
        return spoiled_line(line, by_number[number]) if number in by_number else written(line)

    tampering.body = spoiling(told, batch.nonce)
    await brought_home(at, sender, batch)
    assert await harmed(sender, spoiled) == []
    assert await sender.rows(BALANCE) == [(True, True, True)]
    assert await sender.rows(
        "select state, succeeded + invalid + errored = items, missing from lanes.batch_status"
    ) == [("collected", True, 0)]
    assert await sender.rows(
        "select count(*) from lanes.incident_log where promise = 'batch_incomplete'"
    ) == [(0,)]
    ((bound,),) = await sender.rows("select sum(cost_usd + bound_usd) from lanes.attempt_log")
    assert float(endpoint.bill()["usd"]) <= float(str(bound))


@pytest.mark.slow
@settings(max_examples=5)
@given(data=st.data(), requests=st.integers(1, 6), pack=st.integers(1, 3))
async def test_any_result_lines_close_the_batch_balance_the_ledger_and_settle_right_answers(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    tampering: Tampering,
    data: st.DataObject,
    requests: int,
    pack: int,
) -> None:
    numbers = sorted(data.draw(st.sets(st.integers(0, requests - 1), min_size=1)))
    drawn = {number: data.draw(lines(f"{NONCE}-{number}", NAMES)) for number in numbers}
    run = next(runs)
    keys = [f"{run}-{number}" for number in range(requests * pack)]
    batch = await submitted(at, endpoint, sender, keys, workload=f"letters{run}", batch_pack=pack)
    odd = {
        number: line.replace(NONCE.encode(), batch.nonce.encode()) for number, line in drawn.items()
    }
    tampering.body = spoiling(lambda line, number: odd.get(number, written(line)), batch.nonce)
    tampering.view = lambda view: (
        view | {"request_counts": view["request_counts"] | {"succeeded": requests - len(odd)}}
    )
    await brought_home(at, sender, batch)
    tampering.honest()
    states, of = await sender.states(), await request_of(sender, batch.id)
    assert [key for key in keys if of[key] not in odd and states[key] != "settled"] == []
    assert await sender.rows(
        "select state from lanes.batch_status where batch_id = :id", id=batch.id
    ) == [("collected",)]
    assert await sender.rows(BALANCE) == [(True, True, True)]


@pytest.mark.slow
@settings(max_examples=4)
@given(odd=views(VIEW))
async def test_a_batch_with_odd_times_and_counts_is_collected(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering, odd: dict[str, Any]
) -> None:
    run = next(runs)
    tampering.view = lambda view: (
        view | {name: value for name, value in odd.items() if value != VIEW[name]}
    )
    batch = await submitted(
        at, endpoint, sender, [f"{run}-{number}" for number in range(3)], workload=f"letters{run}"
    )
    assert await collect.bring_home(at, batch) == 3
    assert await sender.rows(
        "select state from lanes.batch_status where batch_id = :id", id=batch.id
    ) == [("collected",)]


@pytest.mark.parametrize(
    "kinds",
    [[*KINDS.values()][::9], pytest.param([*KINDS.values()], marks=pytest.mark.slow)],
    ids=len,
)
async def test_broken_answers_of_calls_release_their_places_and_claims_and_harm_no_neighbour(
    at: Connections, sender: Sender, tampering: Tampering, kinds: Sequence[FieldKind]
) -> None:
    """`answer` itself asserts that no place stays occupied and no work stays claimed."""
    left, lock = iter(kinds), threading.Lock()

    def message(honest: bytes) -> bytes:
        with lock:
            kind = next(left, None)
        return honest if kind is None else written(kind.spoil(json.loads(honest)))

    keys = [f"k{number:03}" for number in range(len(kinds) + 10)]
    tampering.message = message
    await sender.items(*keys, lane=Lane.REALTIME, max_failures=1)
    outcomes = Counter[Outcome]()
    # Each round answers up to fifty items.
    while await sender.rows("select from lanes.work where state = 'ready' limit 1"):
        outcomes += await answer(at)
        await sender.work_rests()
    billed = [kind for kind in kinds if kind.is_billed]
    assert outcomes[Outcome.INVALID] == sum(not kind.is_answered for kind in billed)
    assert outcomes[Outcome.UNKNOWN] == len(kinds) - len(billed)
    assert outcomes[Outcome.VALID] == list((await sender.states()).values()).count("settled") >= 10
    answered = outcomes[Outcome.VALID] + outcomes[Outcome.INVALID]
    assert await sender.rows("select count(*) from lanes.spend") == [(answered,)]
    assert await sender.rows("select count(*) from lanes.work where state = 'claimed'") == [(0,)]
    assert await sender.rows(
        "select count(*) from lanes.attempt where outcome = 'unknown' and bound_usd = 0"
    ) == [(0,)]
    assert await sender.rows(BALANCE) == [(True, True, True)]


@pytest.mark.slow
async def test_answers_with_the_same_message_id_are_each_billed(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering
) -> None:
    def named_alike(honest: bytes) -> bytes:
        return written(json.loads(honest) | {"id": "msg_same"})

    tampering.message = named_alike
    await sender.items(*(f"now{number}" for number in range(5)), lane=Lane.REALTIME)
    assert await answer(at) == {Outcome.VALID: 5}
    batch = await submitted(
        at, endpoint, sender, [f"later{number}" for number in range(6)], batch_pack=2
    )
    tampering.body = lambda body: b"".join(
        written(
            line
            | {
                "result": line["result"]
                | {"message": line["result"]["message"] | {"id": "msg_same"}}
            }
        )
        + b"\n"
        for line in map(json.loads, body.splitlines())
    )
    for _ in range(2):
        await collect.bring_home(at, batch)
    assert set((await sender.states()).values()) == {"settled"}
    assert await sender.rows(
        "select count(*), count(distinct message_id), sum(items) from lanes.spend"
    ) == [(8, 8, 11)]
    assert await sender.rows(
        "select count(*) from lanes.spend where message_id ~ '^msg_same(~[0-9a-f]{16})?$'"
    ) == [(8,)]
    assert await sender.rows(BALANCE) == [(True, True, True)]
    assert float(endpoint.bill()["usd"]) == pytest.approx(
        float(str((await sender.rows("select sum(cost_usd) from lanes.spend"))[0][0])), abs=1e-9
    )
