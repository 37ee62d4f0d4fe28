"""A batch that is stuck at the provider: what is due is answered in real time, and what the batch says later is booked.

One stand of its own, in which both modes are stuck at once. Its batches are expected within a minute, so that what is due in
minutes may wait for one, and is sure only to a small confidence.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.running_stand import RunningStand, put_up, take_down
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DUE_IN_S = 205  # sure enough of a batch that leaves at once and takes a minute
ITEMS = 12
MODES = ("plain", "lambda")


@pytest.fixture(scope="module")
def stand(open_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStand]:
    up = put_up(open_folder / "rescue", LANES_LOCAL_TURNAROUND_S="0")
    for mode in MODES:
        file = tmp_path_factory.mktemp("workloads") / f"{mode}.yaml"
        file.write_text(json.dumps(definition(mode)))
        done = up.cli("publish", str(file), "--yes")
        assert done.returncode == 0, done.stderr
    yield up
    take_down(up)


def definition(mode: str) -> dict[str, Any]:
    """Return a workload whose free items go to batches."""
    category = {"type": "string", "enum": ["a", "b"]}
    return {
        "name": f"due-{mode}",
        "instructions": "Sort the letter.",
        "mode": mode,
        "split_percent": 0,
        "confidence": 0.6,
        "batch_expected_minutes": 1,
        "output_schema": {
            "type": "object",
            "properties": {"category": category},
            "required": ["category"],
            "additionalProperties": False,
        },
    }


def put(stand: RunningStand, workload: str) -> None:
    """Items that are due in minutes, and one that is not: a batch without a needed item would be cancelled."""
    told = stand.rows(
        "select lanes.submit(:w, jsonb_build_object('text', 'Letter ' || n), key => 'letter ' || n,"
        " due_at => case when n > 0 then now() + :due * interval '1 s' end) as said from generate_series(0, :items) n",
        w=workload,
        items=ITEMS,
        due=DUE_IN_S,
    )
    assert {each.said for each in told} == {"accepted"}


def test_the_due_items_of_a_stuck_batch_are_answered_in_time_and_the_batch_is_booked_when_it_comes(
    stand: RunningStand,
) -> None:
    stand.endpoint.post(
        "_control/faults", json={"where": "batch_request", "kind": "stall"}
    ).raise_for_status()
    workloads = [f"due-{mode}" for mode in MODES]
    for each in workloads:
        put(stand, each)
    of_ours = "workload like 'due-%'"
    routed = f"select count(*) from lanes.route_log where {of_ours} and lane = 'batch' and reason = 'split'"
    until(
        lambda: stand.value(routed) == 2 * (ITEMS + 1), within_s=30, what="routes to the batch lane"
    )
    stand.run("depart", {"departure": {}})
    out = f"select count(*) from lanes.batch where {of_ours} and state = 'submitted'"
    until(lambda: stand.value(out) == 2, within_s=120, what="two batches that are out")

    answered = f"select count(*) from lanes.item where {of_ours} and answered_at is not null"
    until(lambda: stand.value(answered) == 2 * ITEMS, within_s=DUE_IN_S + 30, what="answers")
    assert (
        stand.value(f"select count(*) from lanes.item where {of_ours} and answered_at > due_at")
        == 0
    )
    rescued = f"select count(*) as n, count(distinct key) as keys from lanes.route_log where {of_ours} and reason = 'rescue'"
    assert [tuple(each) for each in stand.rows(rescued)] == [(2 * ITEMS, ITEMS)]
    assert stand.value(out) == 2
    told = stand.cli("explain", "due-plain", "letter 1")
    assert "rescued" in told.stdout, told.stdout

    stand.endpoint.delete("_control/faults").raise_for_status()
    home = f"select count(*) from lanes.batch where {of_ours} and state = 'collected'"
    until(lambda: stand.value(home) == 2, within_s=120, what="the batches")
    states = f"select distinct state from lanes.item_status where {of_ours}"
    assert [each.state for each in stand.rows(states)] == ["settled"]
    tries = f"""
        select workload, lane, count(*), count(*) filter (where shown) from lanes.attempt_log
         where {of_ours} group by 1, 2 order by 1, 2"""
    assert [tuple(each) for each in stand.rows(tries)] == [
        ("due-lambda", "batch", ITEMS + 1, ITEMS + 1),
        ("due-lambda", "realtime", ITEMS, ITEMS),
        ("due-plain", "batch", ITEMS + 1, 1),
        ("due-plain", "realtime", ITEMS, ITEMS),
    ]
    bill = stand.endpoint.get("_control/bill").json()
    assert stand.value("select count(*) from lanes.spend") == bill["responses"]
    assert stand.value("select sum(cost_usd) from lanes.spend") == Decimal(bill["usd"])
