"""Leading the rollout of a new version: it is in force at the end, or taken back while the old one answers."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Connection

from lanes.errors import ActionRefused
from lanes.store.database import Database
from lanes.store.workload import candidates
from tasks.migrate import leading
from tests.conftest import NOON
from tests.examples import publish, spec
from tests.flows.test_migrate import wanted
from tests.rollouts import step, write


def stored(connection: Connection, now: datetime) -> None:
    """Version 2 of `letters` is a candidate beside version 1."""
    publish(connection, now=now, split_percent=100)
    candidates.store(connection, "letters", spec(patience_s=5), now=now)


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
