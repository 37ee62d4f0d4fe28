"""Leading the rollout of a new version: it is in force at the end, or taken back while the old one answers."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Connection

from lanes.errors import ActionRefused
from lanes.rollouts.rollout import Advance, Finish, Hold, RollBack
from lanes.store.database import Database
from lanes.store.rollouts import rollout_moves
from lanes.store.workload import candidates, workloads
from lanes.words import Outcome
from tasks.migrate import Lead, leading
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, spec
from tests.flows.test_migrate import tries, wanted
from tests.rollouts import begin, playbook, step, write
from tests.store.tries import claim, save, tried


def stored(connection: Connection, now: datetime) -> None:
    """Version 2 of `letters` is a candidate beside version 1."""
    publish(connection, now=now, split_percent=100)
    candidates.store(connection, "letters", spec(patience_s=5), now=now)


async def test_a_new_version_is_in_force_once_its_steps_have_passed(database_url: str) -> None:
    async with Database(database_url) as db:
        await db.run(stored, NOON)
        book = playbook(step(50), step(100), direction="version")
        lead = Lead(db, await db.run(begin, book, version=2))
        held = await lead.decide(NOON)
        assert isinstance(held, Hold)
        for mark in ("a", "b", "c"):
            await db.run(tries, Outcome.VALID, mark)
        move = await lead.decide(later(seconds=2))
        assert isinstance(move, Advance)
        assert "version 2" in await lead.question()
        await db.run(rollout_moves.apply, lead.rollout, move, [], now=NOON)
        for mark in ("d", "e"):
            await db.run(tries, Outcome.VALID, mark)
        move = await lead.decide(later(seconds=4))
        assert isinstance(move, Finish)
        await db.run(rollout_moves.apply, lead.rollout, move, [], now=later(seconds=4))
        await lead.decide(later(seconds=5))
        assert lead.headline().startswith("letters: finished at 100 % to version 2")
        assert (await db.run(workloads.in_force))["letters"].number == 2


async def test_a_new_version_that_errs_is_taken_back_while_the_old_one_answers(
    database_url: str,
) -> None:
    def fails(connection: Connection) -> None:
        admit(connection, *(f"ill{n}" for n in range(75)), now=NOON)
        route(connection, now=NOON)
        new = workloads.numbered(connection, "letters", [2])[2].id
        for each in claim(connection):
            outcome = Outcome.INVALID if each.version_id == new else Outcome.VALID
            save(connection, tried(each, outcome, at=later(seconds=1)))

    async with Database(database_url) as db:
        await db.run(stored, NOON)
        book = playbook(step(50), step(100), direction="version")
        lead = Lead(db, await db.run(begin, book, version=2))
        await db.run(fails)
        move = await lead.decide(later(seconds=2))
        assert isinstance(move, RollBack)
        await db.run(rollout_moves.apply, lead.rollout, move, [], now=later(seconds=3))
        await lead.decide(later(seconds=4))
        assert "rolled back at step 1 of 2, back to version 1 for all items" in lead.headline()
        assert (await db.run(workloads.in_force))["letters"].number == 1


async def test_a_version_playbook_starts_only_for_the_candidate_that_is_named(
    database_url: str, tmp_path: Path
) -> None:
    (folder := tmp_path / "moving").mkdir()
    moving = write(folder, step(100), direction="version")
    file = write(tmp_path, step(10), step(50))
    async with Database(database_url) as db:
        await db.run(stored, NOON)
        for order, why in (
            (wanted(moving), "moves a new version"),
            (replace(wanted(moving), version=3), "is not its candidate, which is version 2"),
            (replace(wanted(file), version=2), "between the lanes, not to a version"),
        ):
            with disable_run_logger(), pytest.raises(ActionRefused, match=why):
                async with leading(db, order, uuid4()):
                    pass
