"""`lanes batches`, `adopt`, `resubmit` and `give-up`: explained first, done only with --yes."""

import json

import pytest
from sqlalchemy import Engine

from lanes.cli import app
from lanes.store.batch import doubts
from lanes.words import Lane
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.store.tries import intend, rows

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def held(pool: Engine, address: str) -> None:
    """Hold batch 1, which has two items."""
    with pool.begin() as connection:
        letters = publish(connection, now=NOON)
        admit(connection, "a", "b", now=NOON, lane=Lane.BATCH)
        route(connection, now=NOON)
        batch_id, _ = intend(connection, letters)
        doubts.hold(connection, batch_id, note="several fit", now=NOON)


def state(pool: Engine) -> str:
    with pool.begin() as connection:
        (batch,) = rows(connection, "batch")
    return batch.state


def test_open_batches_are_shown_with_the_costs_at_stake(capsys: Told) -> None:
    assert app(["batches", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["batch_id"], shown["state"], shown["items"], shown["note"]) == (
        1,
        "held",
        2,
        "several fit",
    )
    assert 0 < float(shown["again_usd"]) < float(shown["most_usd"])
    assert app(["batches"]) == 0
    said = capsys.readouterr().out
    assert "several fit" in said
    assert "Again: what sending them again costs, estimated. At most: " in said


@pytest.mark.parametrize(
    ("command", "after"),
    [
        (["adopt", "1", "msgbatch_7"], "submitted"),
        (["resubmit", "1"], "released"),
        (["give-up", "1"], "released"),
    ],
)
def test_a_decision_is_explained_first_and_made_only_with_yes(
    pool: Engine, capsys: Told, command: list[str], after: str
) -> None:
    assert app(command) == 0
    said = capsys.readouterr().out
    assert "$" in said
    assert "Nothing was changed; add --yes to do it." in said
    assert state(pool) == "held"
    assert app([*command, "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["done"], told["batch_id"]) == (True, 1)
    assert state(pool) == after


def test_a_decision_about_an_unknown_batch_fails_with_exit_code_1(capsys: Told) -> None:
    assert app(["resubmit", "99", "--yes"]) == 1
    assert "there is no batch 99" in capsys.readouterr().err
