"""`lanes depart`: waiting batch work leaves now, or the command says why not."""

import json
from typing import Any

import pytest
from sqlalchemy import Engine

from lanes.cli import app
from lanes.store.batch import doubts
from lanes.store.database import clock
from lanes.store.rollouts import rollouts
from lanes.words import Lane, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.prefect_standin import PrefectStandIn
from tests.store.tries import claim, intend, rows, save, submit, tried

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def letters(
    pool: Engine, address: str, monkeypatch: pytest.MonkeyPatch, prefect: PrefectStandIn
) -> Version:
    """Publish a workload without items, and another whose items wait for the off-peak window."""
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url)
    with pool.begin() as connection:
        publish(connection, "archive", now=NOON)
        admit(connection, "theirs", now=NOON, workload="archive", lane=Lane.BATCH)
        version = publish(connection, now=NOON)
        route(connection, now=NOON)
    return version


def waits(pool: Engine, *keys: str, lane: Lane = Lane.BATCH) -> None:
    with pool.begin() as connection:
        admit(connection, *keys, now=NOON, lane=lane)
        route(connection, now=NOON)


def told(capsys: Told, *arguments: str, code: int = 0) -> Any:
    assert app(["depart", "letters", "--json", *arguments]) == code
    return json.loads(capsys.readouterr().out)


def test_a_run_is_requested_for_the_ready_items_of_this_workload(
    pool: Engine, capsys: Told, prefect: PrefectStandIn
) -> None:
    waits(pool, "a", "b")
    assert app(["depart", "letters"]) == 0
    (run,) = prefect.runs
    ui = prefect.api_url.removesuffix("/api")
    assert (
        capsys.readouterr().out
        == f"2 items of letters will leave now\nrun: {ui}/v2/runs/flow-run/{run.id}\n"
    )
    assert prefect.asked("depart") == [{"departure": {"workload": "letters"}}]


def test_the_json_output_contains_the_number_of_items_and_the_run(
    pool: Engine, capsys: Told, prefect: PrefectStandIn
) -> None:
    waits(pool, "a")
    said = told(capsys)
    assert (said["workload"], said["ready"], said["said"]) == (
        "letters",
        1,
        "1 item of letters will leave now",
    )
    assert said["run"] == prefect.runs[0].id
    assert said["url"].endswith(f"/v2/runs/flow-run/{prefect.runs[0].id}")


def test_no_run_is_requested_without_ready_items_and_the_output_explains_the_others(
    pool: Engine, capsys: Told, prefect: PrefectStandIn, letters: Version
) -> None:
    assert told(capsys) == {
        "workload": "letters",
        "ready": 0,
        "run": None,
        "url": None,
        "said": "nothing of letters is ready to leave",
    }
    waits(pool, "out")
    with pool.begin() as connection:
        submit(connection, letters)
    waits(pool, "now", lane=Lane.REALTIME)
    with pool.begin() as connection:
        admit(connection, "new", now=NOON)
    assert told(capsys)["said"] == (
        "nothing of letters is ready to leave: 1 received and not routed yet, which takes a few seconds while a drain runs; "
        "1 on the real-time lane; 1 in batches already"
    )
    assert prefect.runs == []


def test_work_that_has_just_failed_rests_and_is_not_ready(
    pool: Engine, capsys: Told, letters: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits(pool, "a")
    with pool.begin() as connection:
        _, refused = submit(connection, letters)
        save(
            connection, *(tried(each, Outcome.UNSERVED) for each in refused), now=clock(connection)
        )
    said = told(capsys)
    assert said["ready"] == 0
    assert "1 resting after a failed try, the first until " in said["said"]


def test_a_paused_workload_does_not_leave_and_the_exit_code_is_1(
    pool: Engine, capsys: Told, prefect: PrefectStandIn
) -> None:
    waits(pool, "a")
    with pool.begin() as connection:
        rollouts.pause_workload(connection, "letters", now=NOON)
    assert app(["depart", "letters"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("letters has been paused since ")
    assert "with 1 item ready: no batch of it leaves until `lanes resume letters`" in err
    assert prefect.runs == []


def test_a_held_batch_keeps_its_items_and_a_batch_with_an_open_create_goes_first(
    pool: Engine, capsys: Told, prefect: PrefectStandIn, letters: Version
) -> None:
    waits(pool, "a", "b")
    with pool.begin() as connection:
        held, _ = intend(connection, letters)
        doubts.hold(connection, held, note="several fit", now=NOON)
    waits(pool, "c")
    with pool.begin() as connection:
        open_, _ = intend(connection, letters)
    waits(pool, "d")
    assert told(capsys)["said"] == (
        f"1 item of letters will leave now: they leave once the create of batch {open_} is answered or reconciled; "
        f"1 in batches already; 2 in batch {held}, held until a person decides: `lanes batches`"
    )
    assert len(prefect.asked("depart")) == 1


def test_finished_work_is_not_counted(pool: Engine, capsys: Told) -> None:
    waits(pool, "a", "b", lane=Lane.REALTIME)
    with pool.begin() as connection:
        for work, outcome in zip(claim(connection), (Outcome.VALID, Outcome.POISON), strict=True):
            save(connection, tried(work, outcome), now=later(seconds=1))
        assert {each.state for each in rows(connection, "work", workload="letters")} == {
            "done",
            "failed",
        }
    assert told(capsys)["said"] == "nothing of letters is ready to leave"


def test_an_unavailable_prefect_server_gives_exit_code_1(
    pool: Engine, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits(pool, "a")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert app(["depart", "letters"]) == 1
    assert "the Prefect API at http://127.0.0.1:1/api gives no answer" in capsys.readouterr().err
    monkeypatch.delenv("PREFECT_API_URL")
    assert app(["depart", "letters"]) == 1
    assert "no Prefect server is known: run `lanes up`" in capsys.readouterr().err


def test_an_unknown_workload_gives_exit_code_2(capsys: Told, prefect: PrefectStandIn) -> None:
    assert app(["depart", "ghosts"]) == 2
    assert 'there is no workload "ghosts"' in capsys.readouterr().err
    assert prefect.runs == []
