"""The tutorial, run block by block: a workload of another domain, from a CSV file to a finished rollout."""

import csv
from pathlib import Path

import pytest

from lanes.store.workload import workloads
from tests.docs.blocks import blocks
from tests.docs.desk import Desk
from tests.running_stand import RunningStand
from tests.waiting import until

KINDS = {"electrical", "hydraulic", "mechanical", "software"}
EVENTS = "select event from lanes.rollout_log where workload = 'maintenance' order by at"
OPEN_ONES = (
    "select count(*) from lanes.item_status where workload = 'maintenance' and state <> 'settled'"
)
LANES = """
select left(key, 3), string_agg(distinct lane, ',' order by lane) from lanes.item_status
 where workload = 'maintenance' group by 1
"""
LABELS = "select labels from lanes.accuracy where workload = 'maintenance' and field = 'kind'"


@pytest.mark.slow
def test_the_blocks_of_the_tutorial_create_a_workload_and_move_its_split_to_real_time(
    stand: RunningStand, tmp_path: Path, checkout: Path
) -> None:
    desk = Desk(tmp_path, stand.environment)
    for block in blocks(checkout / "docs" / "tutorial.md"):
        assert block.is_run, f"{block} is none that a reader can follow"
        desk.run(block)
    assert desk.left(checkout / "docs" / "tutorial.md") == []

    with stand.pool.begin() as connection:
        version = workloads.current(connection, "maintenance")
        split = workloads.splits(connection).of("maintenance", None)
    assert version is not None
    assert version.number == 2
    assert set(version.spec.output_schema["properties"]["kind"]["enum"]) == KINDS
    assert split.basis_points == 10_000
    moved = [each.event for each in stand.rows(EVENTS) if each.event != "held"]
    assert moved == ["started", "approval_asked", "approved", "stepped", "finished"]

    until(lambda: stand.value(OPEN_ONES) == 0, what="every answer")
    of_shift = {row[0]: row[1] for row in stand.rows(LANES)}
    assert of_shift == {
        "L-0": "batch",
        "N-1": "batch,realtime",
        "N-2": "realtime",
        "smo": "realtime",
    }
    with (tmp_path / "answers.csv").open(newline="") as file:
        answered = [row["output.kind"] for row in csv.DictReader(file) if row["output.kind"]]
    assert set(answered) <= KINDS
    assert len(answered) >= 24 + 1 + 8 + 16
    assert stand.value(LABELS) == 24
