"""From reads to a rollout: the weekly look proposes it, a person approves it on the form, and `migrate` leads it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from sqlalchemy import Connection, text

from lanes.rollouts.rollout import Rollout
from lanes.standing.runs import Deployment
from lanes.store.database import Database
from lanes.store.rollouts import rollouts
from lanes.store.workload import workloads
from lanes.words import RolloutState
from tasks.migrate import leading
from tests.examples import admit, publish, route
from tests.flows.conftest import RUN
from tests.flows.deployed import flow_of
from tests.passing_time import PassingTime
from tests.prefect_standin import PrefectStandIn
from tests.rollouts import playbook, step
from tests.store.tries import claim, save, submit, tried

# Raised by an artifact without a run.
pytestmark = pytest.mark.filterwarnings("error::FutureWarning")
GATE = {"measure": "error_rate", "max": 0.5, "at_least": 3}
BOOK = playbook(step(50, GATE), step(0, GATE), direction="realtime_to_batch")


def used(connection: Connection, *, now: datetime, read_after: timedelta | None) -> None:
    """Answer forty items in real time at once; they are read `read_after` later, if at all."""
    publish(connection, now=now, split_percent=100)
    keys = [f"{now} {number}" for number in range(40)]
    admit(connection, *keys, now=now, consumer="nightly")
    route(connection, now=now)
    save(connection, *(tried(each, at=now) for each in claim(connection, now=now)), now=now)
    if read_after is not None:
        read = text("select * from lanes.read_result('letters', :key, 'report', :at)")
        for key in keys:
            connection.execute(read, {"key": key, "at": now + read_after})


def batched(connection: Connection, mark: str, *, now: datetime) -> None:
    """Admit a hundred items of the consumer; those that the split sends to batch return in one batch."""
    letters = workloads.read_versions(connection)["letters"]
    keys = [f"{mark} {number}" for number in range(100)]
    admit(connection, *keys, now=now, consumer="nightly")
    route(connection, now=now)
    batch_id, works = submit(connection, letters, now=now)
    save(connection, *(tried(each, at=now) for each in works), now=now, batch_id=batch_id)


@pytest.fixture
def called(db: Database, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that calls a deployment's flow with parameters, as a run does; its tasks run as functions."""

    @asynccontextmanager
    async def database() -> AsyncIterator[Database]:
        yield db

    for module in ("flows.advise", "tasks.by_hand"):
        monkeypatch.setattr(import_module(module), "database", database)
    for module, name in (
        ("tasks.report", "write_advice"),
        ("tasks.report", "propose"),
        ("tasks.by_hand", "perform"),
        ("tasks.migrate", "make_move"),
    ):
        monkeypatch.setattr(import_module(module), name, getattr(import_module(module), name).fn)
    monkeypatch.setattr("tasks.report.load", lambda _: BOOK)

    async def call(deployment: str, **parameters: Any) -> Any:
        flow = flow_of(deployment)
        with FlowRunContext.model_construct(flow_run=FlowRun(id=RUN, flow_id=uuid4())):
            return await flow.fn(**flow.validate_parameters(parameters))

    return call


async def test_a_proposal_from_seeded_reads_becomes_an_executed_rollout(
    db: Database, called: Any, passing_time: PassingTime, prefect: PrefectStandIn
) -> None:
    await db.run(used, now=await db.now(), read_after=timedelta(hours=20))
    passing_time.passes(days=2)
    said = await called("advise", question={"workload": "*"})
    assert said.startswith("every workload: 1 rollout to batch proposed, $")
    page = next(each for each in prefect.artifacts if each["key"] == "lanes-proposals-letters")
    assert page["flow_run_id"] == str(RUN)
    assert "nightly" in page["data"]
    assert "/v2/deployments/deployment/" in page["data"]
    assert "data:image/svg+xml;base64," in page["data"]

    passing_time.passes(hours=1)
    (number,) = await db.run(lambda of: of.execute(text("select id from lanes.proposal")).scalars())
    form = {"workload": "letters", "proposal": number, "action": "approve"}
    said = await called("decide_proposal", action={**form, "who": "ada", "why": "it saves"})
    assert f"proposal {number} is approved as rollout" in said
    assert [each.flow for each in prefect.runs] == [Deployment.MIGRATE]

    async with leading(db, None, uuid4()) as lead:
        assert lead is not None
        seen = lead.rollout
        assert (seen.consumer, seen.started_by, seen.basis_points) == ("nightly", "ada", 5_000)
        for mark in ("at 50 %", "at 0 %"):
            await db.run(batched, mark, now=await db.now())
            passing_time.passes(minutes=10)
            await lead.moves()
            assert await db.run(share_of_nightly) == 0
        ended: Rollout = await db.run(rollouts.find, seen.id)
        assert ended.state is RolloutState.FINISHED


def share_of_nightly(connection: Connection) -> int:
    return workloads.splits(connection).of("letters", "nightly").basis_points


async def test_unknown_reads_propose_nothing(
    db: Database, called: Any, passing_time: PassingTime, prefect: PrefectStandIn
) -> None:
    await db.run(used, now=await db.now(), read_after=None)
    passing_time.passes(days=2)
    said = await called("advise", question={"workload": "*"})
    assert said == "every workload: no rollout is proposed"
