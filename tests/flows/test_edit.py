"""A definition from a file: the block is saved first, then its version is in force, and no edit is half done."""

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


async def test_a_candidate_whose_block_could_not_be_saved_is_not_stored(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await edit(at.db, wish(patience_s=5))
    told = await edit(at.db, replace(wish(patience_s=7), candidate=True))
    assert told == EditReply(EditOutcome.EDITED_MEANWHILE)
    assert await at.db.run(candidates.find, "letters") is None


async def test_a_block_with_a_rolled_back_definition_is_reported_until_the_block_changes(
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


async def test_an_open_canary_blocks_every_other_publication_and_the_reason_is_reported(
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
    """Return the patience of the version in force, None without one."""
    found = (await at.db.run(workloads.read_versions)).get("letters")
    return found and found.spec.patience_s


@pytest.mark.slow
async def test_a_new_workload_gets_a_block_a_version_in_force_and_a_schedule(
    at: Connections, prefect: PrefectStandIn
) -> None:
    assert await edit(at.db, wish(patience_s=5)) == EditReply(EditOutcome.PUBLISHED)
    assert prefect.blocks["letters"] == spec(patience_s=5).model_dump(mode="json")
    assert await patience(at) == 5
    assert windows(prefect) == {"letters": "0 22,23,0,1,2,3,4,5 * * *"}


@pytest.mark.slow
async def test_a_changed_definition_replaces_the_whole_block(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await edit(at.db, wish(patience_s=5))
    # A field of another release; with it the block is not valid.
    prefect.blocks["letters"]["forgotten_field"] = 1
    seen = json.loads(json.dumps(prefect.blocks["letters"]))
    assert await edit(at.db, wish(seen, patience_s=7)) == EditReply(EditOutcome.PUBLISHED)
    assert "forgotten_field" not in prefect.blocks["letters"]
    assert await patience(at) == 7


@pytest.mark.slow
async def test_a_block_that_was_edited_since_its_author_read_it_is_not_changed(
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
async def test_an_edit_that_prefect_refuses_is_neither_saved_nor_published(
    at: Connections, prefect: PrefectStandIn, status: int
) -> None:
    prefect.status = status
    told = await edit(at.db, wish())
    assert (told.outcome, str(status) in (told.detail or "")) == (EditOutcome.NOT_SAVED, True)
    assert (prefect.blocks, await patience(at)) == ({}, None)


async def test_a_block_that_another_person_saves_right_after_an_edit_is_in_force_and_reported(
    at: Connections, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = editing.publish

    async def overtaken(db: Any, **wished: Any) -> Any:
        prefect.blocks["letters"] = spec(patience_s=9).model_dump(mode="json")
        return await publish(db, **wished)

    monkeypatch.setattr(editing, "publish", overtaken)
    assert await edit(at.db, wish(patience_s=7)) == EditReply(EditOutcome.OVERTAKEN)
    assert await patience(at) == 9


async def test_an_edit_that_could_not_be_published_is_reported_as_saved(
    at: Connections, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def held(*_: object, **__: object) -> None:
        raise TimeoutError("somebody holds it")

    monkeypatch.setattr(editing, "publish", held)
    told = await edit(at.db, wish(patience_s=7))
    assert told == EditReply(EditOutcome.ONLY_SAVED, "TimeoutError: somebody holds it")
    assert prefect.blocks["letters"]["patience_s"] == 7


@pytest.mark.slow
async def test_a_publisher_that_read_the_old_block_does_not_restore_its_version(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await edit(at.db, wish(patience_s=5))
    seen = dict(prefect.blocks["letters"])
    router = asyncio.create_task(editing.publish(at.db))
    assert (await edit(at.db, wish(seen, patience_s=7))).outcome is EditOutcome.PUBLISHED
    await router
    assert await patience(at) == 7


def test_an_edit_and_its_reply_are_passed_as_json() -> None:
    wished, told = wish({"a": None}), EditReply(EditOutcome.ONLY_SAVED, "why")
    assert (Edit.read(wished.as_json()), EditReply.read(told.as_json())) == (wished, told)
