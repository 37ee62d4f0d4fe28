"""A definition from a file: the block says so first, then the version is in force; and nothing is half done."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from lanes.rollouts.rollout import RollBack
from lanes.store.rollouts import rollout_moves
from lanes.store.workload import candidates, workloads
from lanes.workload.definition import Edit, EditOutcome, EditReply
from tasks import edit as editing
from tasks.connections import Connections
from tasks.edit import edit
from tests.conftest import NOON
from tests.examples import spec
from tests.flows.test_publish import windows
from tests.prefect_standin import PrefectStandIn
from tests.rollouts import begin, playbook, step


async def test_a_candidate_is_saved_and_stored_and_no_publisher_puts_it_in_force(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await edit(at.db, wish(patience_s=5))
    seen = dict(prefect.blocks["letters"])
    told = await edit(at.db, replace(wish(seen, patience_s=7), candidate=True))
    assert told == EditReply(EditOutcome.CANDIDATE)
    assert prefect.blocks["letters"]["patience_s"] == 7
    assert (await editing.publish(at.db)).problems == []
    assert await patience(at) == 5
    seen = dict(prefect.blocks["letters"])
    assert (await edit(at.db, wish(seen, patience_s=7))).outcome is EditOutcome.PUBLISHED
    assert await patience(at) == 7


async def test_a_candidate_whose_block_could_not_be_saved_is_none(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await edit(at.db, wish(patience_s=5))
    told = await edit(at.db, replace(wish(patience_s=7), candidate=True))
    assert told == EditReply(EditOutcome.EDITED_MEANWHILE)
    assert await at.db.run(candidates.find, "letters") is None


async def test_a_block_that_says_what_was_rolled_back_says_so_until_it_says_something_else(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await edit(at.db, wish(patience_s=5))
    seen = dict(prefect.blocks["letters"])
    await edit(at.db, replace(wish(seen, patience_s=7), candidate=True))
    begun = await at.db.run(begin, playbook(step(50), step(100), direction="version"), version=2)
    assert (await editing.publish(at.db)).problems == []
    await at.db.run(rollout_moves.apply, begun, RollBack("ill"), [], now=NOON)
    (problem,) = (await editing.publish(at.db)).problems
    assert f"its rollout {begun.id} was rolled back: ill" in str(problem)
    assert await patience(at) == 5
    prefect.blocks["letters"]["patience_s"] = 5
    assert (await editing.publish(at.db)).problems == []


async def test_while_a_canary_is_open_nothing_else_is_published_and_the_reason_is_said(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await edit(at.db, wish(patience_s=5))
    seen = dict(prefect.blocks["letters"])
    await edit(at.db, replace(wish(seen, patience_s=7), candidate=True))
    await at.db.run(candidates.set_share, "letters", 500)
    seen = dict(prefect.blocks["letters"])
    told = await edit(at.db, wish(seen, patience_s=9))
    assert told.outcome is EditOutcome.BLOCKED
    assert "open canary of version 2" in (told.detail or "")
    assert prefect.blocks["letters"] == seen
    prefect.blocks["letters"]["patience_s"] = 9  # a person saves it in the UI
    (problem,) = (await editing.publish(at.db)).problems
    assert "open canary of version 2" in str(problem)
    assert await patience(at) == 5


def wish(seen: dict[str, Any] | None = None, **fields: Any) -> Edit:
    return Edit("letters", spec(**fields).model_dump(mode="json"), seen)


async def patience(at: Connections) -> int | None:
    """What the version in force says, None without any."""
    found = (await at.db.run(workloads.in_force)).get("letters")
    return found and found.spec.patience_s


@pytest.mark.slow
async def test_a_new_workload_is_a_block_a_version_in_force_and_a_schedule(
    at: Connections, prefect: PrefectStandIn
) -> None:
    assert await edit(at.db, wish(patience_s=5)) == EditReply(EditOutcome.PUBLISHED)
    assert prefect.blocks["letters"] == spec(patience_s=5).model_dump(mode="json")
    assert await patience(at) == 5
    assert windows(prefect) == {"letters": "0 22,23,0,1,2,3,4,5 * * *"}


@pytest.mark.slow
async def test_a_changed_definition_replaces_everything_that_the_block_said(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await edit(at.db, wish(patience_s=5))
    prefect.blocks["letters"]["forgotten_field"] = (
        1  # of another release: with it the block is not valid
    )
    seen = json.loads(json.dumps(prefect.blocks["letters"]))
    assert await edit(at.db, wish(seen, patience_s=7)) == EditReply(EditOutcome.PUBLISHED)
    assert "forgotten_field" not in prefect.blocks["letters"]
    assert await patience(at) == 7


@pytest.mark.slow
async def test_a_block_that_was_edited_since_its_author_looked_is_left_alone(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await edit(at.db, wish(patience_s=5))
    for seen in (None, spec(patience_s=9).model_dump(mode="json")):
        assert await edit(at.db, wish(seen, patience_s=7)) == EditReply(
            EditOutcome.EDITED_MEANWHILE
        )
    assert await edit(at.db, Edit("parcels", spec().model_dump(mode="json"), {})) == EditReply(
        EditOutcome.EDITED_MEANWHILE
    )
    assert (await patience(at), prefect.blocks["letters"]["patience_s"]) == (5, 5)


@pytest.mark.parametrize("status", [403, 409, 500])
async def test_while_prefect_refuses_nothing_is_saved_and_nothing_is_published(
    at: Connections, prefect: PrefectStandIn, status: int
) -> None:
    prefect.status = status
    told = await edit(at.db, wish())
    assert (told.outcome, str(status) in (told.detail or "")) == (EditOutcome.NOT_SAVED, True)
    assert (prefect.blocks, await patience(at)) == ({}, None)


async def test_a_block_that_somebody_saves_right_after_is_in_force_and_that_is_told(
    at: Connections, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = editing.publish

    async def overtaken(db: Any, **wished: Any) -> Any:
        prefect.blocks["letters"] = spec(patience_s=9).model_dump(mode="json")
        return await publish(db, **wished)

    monkeypatch.setattr(editing, "publish", overtaken)
    assert await edit(at.db, wish(patience_s=7)) == EditReply(EditOutcome.OVERTAKEN)
    assert await patience(at) == 9


async def test_what_could_not_be_published_is_said_to_be_saved(
    at: Connections, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def held(*_: object, **__: object) -> None:
        raise TimeoutError("somebody holds it")

    monkeypatch.setattr(editing, "publish", held)
    told = await edit(at.db, wish(patience_s=7))
    assert told == EditReply(EditOutcome.ONLY_SAVED, "TimeoutError: somebody holds it")
    assert prefect.blocks["letters"]["patience_s"] == 7


@pytest.mark.slow
async def test_a_publisher_that_read_the_old_block_does_not_bring_its_version_back(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await edit(at.db, wish(patience_s=5))
    seen = dict(prefect.blocks["letters"])
    router = asyncio.create_task(editing.publish(at.db))
    assert (await edit(at.db, wish(seen, patience_s=7))).outcome is EditOutcome.PUBLISHED
    await router
    assert await patience(at) == 7


def test_an_edit_and_what_became_of_it_are_handed_over_as_json() -> None:
    wished, told = wish({"a": None}), EditReply(EditOutcome.ONLY_SAVED, "why")
    assert (Edit.read(wished.as_json()), EditReply.read(told.as_json())) == (wished, told)
