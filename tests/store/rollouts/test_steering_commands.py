"""`lanes split` and `lanes rollout`: the actions of the forms on the command line."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from lanes.commands import steering
from lanes.store.rollouts import rollout_moves, rollouts
from lanes.store.workload import workloads
from lanes.words import RolloutState
from tests.conftest import NOON, later
from tests.examples import publish
from tests.prefect_standin import PrefectStandIn
from tests.rollouts import begin, playbook, step

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def letters(
    pool: Engine, address: str, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url)
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    with pool.begin() as connection:
        publish(connection, now=NOON)


@pytest.fixture
def led(pool: Engine, prefect: PrefectStandIn) -> UUID:
    """Return the run that leads an open rollout of two steps."""
    prefect.has_run("migrate", "PAUSED")
    run = UUID(prefect.runs[-1].id)
    with pool.begin() as connection:
        rollouts.lead(connection, begin(connection, playbook(step(10), step(50))).id, run)
    return run


def said(
    told: Told, command: Callable[..., int], *given: Any, code: int = 0, **options: Any
) -> Any:
    """Return the sentence of the command: from its JSON, or from stderr if `code` is not 0."""
    assert command(*given, as_json=True, **options) == code
    out, err = told.readouterr()
    return err.strip() if code else json.loads(out)["said"]


def test_a_split_is_set_shown_and_ended(pool: Engine, capsys: Told) -> None:
    assert said(capsys, steering.split, "letters", percent=25).startswith("letters: 25 % of")
    assert said(capsys, steering.split, "letters", percent=3, consumer="desk")
    assert steering.split("letters") == 0
    assert capsys.readouterr().out.splitlines() == [
        "everyone else: 25 % to real-time",
        "desk: 3 % to real-time",
    ]
    assert "inherits" in said(capsys, steering.split, "letters", consumer="desk", end=True)
    with pool.begin() as connection:
        assert not workloads.splits(connection).has_own("letters", "desk")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"end": True}, "--end takes a --consumer and no --percent"),
        ({"end": True, "consumer": "desk", "percent": 3}, "--end takes"),
        ({"consumer": "desk"}, "say --percent, or --end"),
        ({"workload": "ghosts"}, 'no workload "ghosts"'),
    ],
)
def test_an_invalid_split_command_exits_with_a_usage_error(
    capsys: Told, given: dict[str, Any], why: str
) -> None:
    assert why in said(capsys, steering.split, **{"workload": "letters", **given}, code=2)


def test_setting_a_split_is_refused_while_a_rollout_is_open(led: UUID, capsys: Told) -> None:
    assert "abort the rollout first" in said(capsys, steering.split, "letters", percent=1, code=1)


def test_starting_a_rollout_requests_a_run_with_the_order_and_its_author(
    prefect: PrefectStandIn, capsys: Told
) -> None:
    of_desk = steering.RolloutStart(consumer="desk")
    assert said(capsys, steering.rollout, "start", "letters", start=of_desk, why="costs")
    order = {"workload": "letters", "playbook": "batch-to-realtime", "consumer": "desk"}
    assert prefect.asked("migrate") == [{"order": {**order, "who": "ada", "why": "costs"}}]
    assert "ghosts" in said(capsys, steering.rollout, "start", "ghosts", code=2)


@pytest.mark.parametrize("answer", ["approve", "decline"])
def test_an_approval_request_is_answered_by_resuming_the_paused_run(
    prefect: PrefectStandIn, led: UUID, capsys: Told, answer: str
) -> None:
    refused = said(capsys, steering.rollout, answer, "letters", code=1)
    assert refused.endswith("it asks no question now")
    assert "waits for approval" in said(capsys, steering.rollout, "hold", "letters")
    assert said(capsys, steering.rollout, answer, "letters", why="well")
    assert prefect.answers == {str(led): {answer: True, "who": "ada", "why": "well"}}
    assert "not paused" in said(capsys, steering.rollout, answer, "letters", code=1)


def test_an_aborted_rollout_ends_and_its_suspended_run_is_cancelled(
    prefect: PrefectStandIn, led: UUID, capsys: Told
) -> None:
    assert "aborted" in said(capsys, steering.rollout, "abort", "letters")
    assert [each.state for each in prefect.runs] == ["CANCELLED"]
    assert "no open rollout" in said(capsys, steering.rollout, "abort", "letters", code=1)


def test_a_step_is_extended_and_promoted(pool: Engine, capsys: Told) -> None:
    with pool.begin() as connection:
        begin(connection, playbook(step(10, at_most_minutes=60), step(50)))
    until = f"until {later(hours=3):%Y-%m-%d %H:%M} UTC"
    assert until in said(capsys, steering.rollout, "extend", "letters", hours=2)
    assert "50 %" in said(capsys, steering.rollout, "promote", "letters", why="seen enough")
    assert "no time limit" in said(capsys, steering.rollout, "extend", "letters", code=1)


def test_aborting_a_rollout_succeeds_while_prefect_is_unavailable(
    prefect: PrefectStandIn, led: UUID, capsys: Told
) -> None:
    prefect.breaks(status=503)
    assert "aborted" in said(capsys, steering.rollout, "abort", "letters")


def test_watching_a_rollout_prints_its_log_until_the_rollout_has_ended(
    pool: Engine, led: UUID, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def abort(_: float) -> None:
        with pool.begin() as connection:
            rollout_moves.abort(connection, "letters", who="bob", why="enough", now=NOON)

    monkeypatch.setattr(steering, "time", SimpleNamespace(sleep=abort))  # only in this module
    assert steering.rollout("watch", "letters") == 1
    out, err = capsys.readouterr()
    assert [line.split()[2] for line in out.splitlines()] == ["started:", "aborted:"]
    assert RolloutState.ABORTED in err


def test_a_version_playbook_can_be_started_only_by_publishing(
    prefect: PrefectStandIn, capsys: Told
) -> None:
    refused = said(
        capsys,
        steering.rollout,
        "start",
        "letters",
        start=steering.RolloutStart("new-version"),
        why="x",
        code=1,
    )
    assert "`lanes publish FILE --canary new-version` starts it" in refused
    assert prefect.runs == []
