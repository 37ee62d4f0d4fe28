"""The call for a drain, and the trigger that hears it."""

from fnmatch import fnmatch
from pathlib import Path

import yaml
from sqlalchemy import Connection, text

from lanes.store.realtime.load import call_for_drain
from tests.conftest import NOON


def test_the_trigger_of_answer_hears_a_call(connection: Connection, checkout: Path) -> None:
    call_for_drain(connection, ready=3, received=1, now=NOON)
    (said,) = connection.execute(
        text("select event, resource, payload, occurred_at from lanes.event_outbox")
    )
    assert (said.payload, said.occurred_at) == ({"ready": 3, "received": 1}, NOON)
    declared = yaml.safe_load((checkout / "prefect.yaml").read_text())["deployments"]
    triggers = next(each["triggers"] for each in declared if each["name"] == "answer")
    (hears,) = [each for each in triggers if said.event in each["expect"]]
    assert fnmatch(said.resource, hears["match"]["prefect.resource.id"])
