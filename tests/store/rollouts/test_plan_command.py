"""`lanes plan`: the expected course of a rollout, as a table and as JSON."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from lanes.commands.plan import plan
from lanes.store.database import clock
from tests.examples import admit, publish, route
from tests.rollouts import ERRORS, begin, playbook, step, write
from tests.store.tries import rows

Told = pytest.CaptureFixture[str]
SLOW = {"measure": "error_rate", "max": 0.2, "at_least": 5}


@pytest.fixture
def now(pool: Engine, address: str) -> datetime:
    """Route two hundred letters to batch over two days and return the current time."""
    with pool.begin() as connection:
        at = clock(connection)
        publish(connection, now=at, split_percent=0)
        for hours in (48, 36, 24, 12):
            came = at - timedelta(hours=hours)
            admit(connection, *(f"k{hours}-{n}" for n in range(50)), now=came)
            route(connection, now=came)
    return at


def planned(told: Told, file: str, *, code: int = 0, **given: Any) -> dict[str, Any]:
    assert plan(file, workload="letters", as_json=True, **given) == code
    return json.loads(told.readouterr().out)


def test_a_plan_lists_the_traffic_costs_and_required_samples_of_each_step(
    now: datetime, tmp_path: Path, capsys: Told
) -> None:
    said = planned(capsys, write(tmp_path, step(50, SLOW, at_most_minutes=2_880), step(100, SLOW)))
    assert said["refused"] is None
    assert (said["items"], said["gate_alpha"], said["first_step"]) == (200, 0.025, 1)
    assert said["items_a_day"] == pytest.approx(98, abs=3)
    half, whole = said["steps"]
    assert half["items_a_day"] == pytest.approx(said["items_a_day"] / 2)
    assert half["batch_usd_a_day"] == pytest.approx(said["batch_usd_a_day"] / 2)
    assert whole["realtime_usd_a_day"] == pytest.approx(2 * half["realtime_usd_a_day"])
    assert whole["batch_usd_a_day"] == said["realtime_usd_a_day"] == 0
    (gate,) = half["gates"]
    assert gate["measure"] == "error_rate"
    assert gate["if_clean"]["samples"] < gate["at_half"]["samples"]
    days = gate["at_half"]["samples"] / half["items_a_day"]
    assert gate["at_half"]["days"] == half["takes_days"] == pytest.approx(days)
    assert 0 < gate["power"] < 1
    assert whole["gates"][0]["power"] is None
    assert said["takes_days"] == pytest.approx(half["takes_days"] + whole["takes_days"])


def test_a_canary_plan_with_too_little_traffic_is_refused_with_the_required_samples(
    now: datetime, capsys: Told
) -> None:
    said = planned(capsys, "new-version", code=1)
    assert said["items"] == 200
    assert "error_rate needs 208 samples even if none is wrong" in said["refused"]


@pytest.mark.slow
def test_a_plan_is_a_table_that_fits_a_terminal(
    now: datetime, tmp_path: Path, capsys: Told
) -> None:
    compared = {"measure": "deadlines_met", "worse_by": 0.05, "at_least": 5, "dry_run": True}
    gates = SLOW, compared, {"measure": "p95_s", "max": 600, "at_least": 5}
    file = write(tmp_path, step(5, SLOW), step(20, *gates, at_most_minutes=43_200, approval=True))
    assert plan(file, workload="letters") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    said = " ".join(shown.split())
    assert "letters by batch-to-realtime A trial. The split decides the lane of" in said
    for head in ("Moved a day", "Real-time cost", "Batch cost", "If clean", "At half", "Power"):
        assert head in said
    assert "items that real-time gets" in said
    assert "5 items in 30 d, approval" in said
    assert "98.33 % confidence at every look" in said
    assert "deadlines_met," in said
    assert "≤ 5.0 points" in said
    assert "compares deadlines_met with 5 % wrong samples of the other lane, as assumed" in said
    assert "Step 2: p95_s can pass in 30 d only if less is wrong than at half." in said
    assert "At half of every limit it takes" in said


def test_a_plan_of_a_refused_rollout_reports_the_reason_and_exits_with_1(
    now: datetime, pool: Engine, tmp_path: Path, capsys: Told
) -> None:
    file = write(tmp_path, step(5, ERRORS, at_most_minutes=1_440))
    said = planned(capsys, file, code=1)
    assert "error_rate needs 69 samples even if none is wrong" in said["refused"]
    assert not said["steps"][0]["gates"][0]["reachable"]
    assert plan(file, workload="letters") == 1
    assert "Refused: step 1 of playbook" in " ".join(capsys.readouterr().out.split())
    with pool.begin() as connection:
        begin(connection, playbook(step(50)), now=now)
    assert "has an open rollout already" in planned(capsys, file, code=1)["refused"]


def test_a_plan_names_gates_that_pass_in_time_only_below_half_of_their_limit(
    now: datetime, tmp_path: Path, capsys: Told
) -> None:
    assert plan(write(tmp_path, step(50, SLOW, at_most_minutes=2_880)), workload="letters") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Step 1: error_rate can pass in 2.0 d only if less is wrong than at half." in said


def test_the_plan_of_a_new_workload_has_no_durations(
    pool: Engine, address: str, capsys: Told
) -> None:
    with pool.begin() as connection:
        publish(connection, now=clock(connection))
    assert plan("batch-to-realtime", workload="letters") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The split decided the lane of 0 items in 0 s: too few to say what comes." in said
    assert "1,310" in said
    steps = planned(capsys, "batch-to-realtime")["steps"]
    assert {each["takes_days"] for each in steps} == {None}


def test_planning_writes_nothing_to_the_database(now: datetime, pool: Engine, capsys: Told) -> None:
    def everything() -> list[list[Any]]:
        with pool.begin() as connection:
            return [rows(connection, table) for table in ("split", "rollout", "route", "item")]

    before = everything()
    # No item has a due time, so the gate on due times cannot pass.
    assert plan("realtime-to-batch", workload="letters", as_json=True) == 1
    assert everything() == before


@pytest.mark.parametrize(
    ("playbook", "workload", "code", "said"),
    [
        ("batch-to-realtime", "ghosts", 2, 'workload "ghosts" has no published version'),
        ("nowhere", "letters", 1, "there is no file of that name in migrations/playbooks"),
        ("nowhere.yaml", "letters", 1, 'there is no file "nowhere.yaml"'),
    ],
)
def test_a_plan_of_an_unknown_workload_or_playbook_prints_the_reason(
    now: datetime, capsys: Told, playbook: str, workload: str, code: int, said: str
) -> None:
    assert plan(playbook, workload=workload) == code
    assert said in capsys.readouterr().err
