"""A published version answers the golden set at a real endpoint, and `collect` puts it in force or refuses it."""

from typing import Any

import pytest

from anthropic_standin.testing import Endpoint
from lanes.doors.filedoor import FileLine
from lanes.store.batch import ready_work
from lanes.store.workload import golden, workloads
from lanes.words import GoldenState, Lane
from lanes.workload.definition import Edit, EditOutcome, EditReply
from tasks.connections import Connections
from tasks.departure import send_waiting
from tasks.edit import edit
from tasks.publish import publish
from tasks.send_batch import send_batch
from tasks.sweep import judge_candidates
from tests.examples import SCHEMA, spec, submission
from tests.flows.batches import collect_all, submit
from tests.flows.conftest import Sender
from tests.flows.realtime import answer
from tests.flows.test_replay import TURNED
from tests.prefect_standin import PrefectStandIn

KEYS = [f"k{n:02d}" for n in range(16)]
GONE_OUT = "select distinct lane, purpose from lanes.spend where purpose <> 'answer'"


async def a_golden_set(at: Connections, endpoint: Endpoint, sender: Sender) -> None:
    """Label the items with the answers of the version in force."""
    await sender.items(*KEYS, lane=Lane.BATCH)
    await submit(at)
    await collect_all(at, endpoint)
    said: Any = await sender.rows("select key, output from lanes.current_results")
    lines = [FileLine(submission(key), output) for key, output in said]
    now = await at.db.now()
    await at.db.run(golden.add, "letters", lines, who="ada", now=now)


def a_block(prefect: PrefectStandIn, **fields: Any) -> None:
    prefect.blocks["letters"] = spec(**fields).model_dump(mode="json")


async def lane_answers(at: Connections, endpoint: Endpoint, lane: Lane) -> None:
    """Let both versions answer the set on `lane`, then judge the candidates as `collect` does."""
    if lane is Lane.REALTIME:
        await answer(at)
    else:
        # a batch of each version
        for kind in await at.db.run(ready_work.list_waiting_kinds, None, now=await at.db.now()):
            await send_batch(at, kind)
        await collect_all(at, endpoint)
    await judge_candidates(at.db, await at.db.now())


async def in_force(at: Connections) -> int:
    return (await at.db.run(workloads.read_versions))["letters"].number


@pytest.mark.parametrize("lane", Lane)
async def test_a_better_prompt_answers_the_golden_set_and_is_put_in_force_automatically(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn, lane: Lane
) -> None:
    await a_golden_set(at, endpoint, sender)
    a_block(prefect)
    wished = spec(patience_s=5).model_dump(mode="json")
    told = await edit(at.db, Edit("letters", wished, dict(prefect.blocks["letters"]), lane))
    assert told.outcome is EditOutcome.CANDIDATE
    assert f"0 of 16 golden items answered by the {lane} lane" in (told.detail or "")
    await publish(at.db)  # the router reads the block, again and again
    before = await sender.rows("select * from lanes.item_status order by key")
    results = await sender.rows("select * from lanes.current_results order by key")
    assert await in_force(at) == 1
    await lane_answers(at, endpoint, lane)
    assert await in_force(at) == 2
    assert await sender.rows("select * from lanes.item_status order by key") == before
    assert await sender.rows("select * from lanes.current_results order by key") == results
    assert await sender.rows(GONE_OUT) == [(lane, "golden")]
    ((usd,),) = await sender.rows("select sum(cost_usd) from lanes.spend")
    assert float(str(usd)) == float(endpoint.bill()["usd"])
    await publish(at.db)
    assert await in_force(at) == 2


@pytest.mark.parametrize("lane", Lane)
async def test_a_first_version_answers_its_golden_set_and_is_put_in_force_automatically(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn, lane: Lane
) -> None:
    lines = [FileLine(submission(key), {"category": "a"}) for key in KEYS]
    now = await at.db.now()
    await at.db.run(golden.add, "letters", lines, spec=spec(), who="ada", now=now)
    told = await edit(at.db, Edit("letters", spec().model_dump(mode="json"), None, lane))
    assert told.outcome is EditOutcome.CANDIDATE
    await publish(at.db)  # the router reads the block
    assert await at.db.run(workloads.read_versions) == {}
    if lane is Lane.BATCH:
        assert await at.db.run(ready_work.list_pressing, now=await at.db.now()) == ["letters"]
        assert (await send_waiting(at, "letters")).items == len(KEYS)
        assert await at.db.run(ready_work.list_pressing, now=await at.db.now()) == []
        await collect_all(at, endpoint)
        await judge_candidates(at.db, await at.db.now())
    else:
        await lane_answers(at, endpoint, lane)
    assert await in_force(at) == 1
    (run,) = await at.db.run(golden.runs, "letters")
    assert (run.state, run.answered) == (GoldenState.PASSED, len(KEYS))
    assert await sender.rows("select * from lanes.item_status") == []


@pytest.mark.parametrize("lane", Lane)
async def test_a_version_that_loses_on_the_golden_set_is_refused_and_reported_and_can_be_forced(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn, lane: Lane
) -> None:
    await a_golden_set(at, endpoint, sender)
    a_block(prefect)
    turned = {**SCHEMA, "properties": {**SCHEMA["properties"], **TURNED["properties"]}}
    wished = spec(output_schema=turned).model_dump(mode="json")
    seen = dict(prefect.blocks["letters"])
    assert (await edit(at.db, Edit("letters", wished, seen, lane))).outcome is EditOutcome.CANDIDATE
    await lane_answers(at, endpoint, lane)
    (run,) = await at.db.run(golden.runs, "letters")
    assert (run.state, await in_force(at)) == (GoldenState.REFUSED, 1)
    (problem,) = (await publish(at.db)).problems
    assert problem.problems == [run.sentence]
    promises = "select promise, state from lanes.incident_log"
    assert await sender.rows(promises) == [("workload_invalid", "open")]
    billed = endpoint.bill()["usd"]
    again = await edit(at.db, Edit("letters", wished, dict(prefect.blocks["letters"]), lane))
    assert again == EditReply(EditOutcome.REFUSED, run.sentence)  # nothing is asked twice
    assert endpoint.bill()["usd"] == billed
    seen = dict(prefect.blocks["letters"])
    forced = await edit(at.db, Edit("letters", wished, seen, force=True))
    assert (forced.outcome, await in_force(at)) == (EditOutcome.PUBLISHED, 2)
    assert await sender.rows(promises) == [("workload_invalid", "resolved")]
