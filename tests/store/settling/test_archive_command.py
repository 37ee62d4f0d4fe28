"""Archived items in the output of `lanes archive query`, which equals that of `lanes results`, and of `lanes explain`."""

import json

import pytest
from sqlalchemy import Engine

from lanes.cli import app
from lanes.store.doors import archives
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, save, tried

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def letters(pool: Engine, address: str) -> None:
    """Answer three letters, one on each of three days."""
    with pool.begin() as connection:
        publish(connection, now=NOON)
        for day in range(3):
            admit(connection, f"k{day}", now=later(days=day), lane=Lane.REALTIME)
            route(connection, now=later(days=day))
            at = later(days=day, seconds=2)
            save(connection, *(tried(each, at=at) for each in claim(connection, now=at)), now=at)


def archive(pool: Engine) -> int:
    with pool.begin() as connection:
        moments = {"letters": later(days=40)}
        return archives.archive_some(connection, moments, after=0, now=later(days=40)).items


def lines(told: Told, *command: str) -> list[str]:
    assert app(command) in (0, None)
    return told.readouterr().out.splitlines()


def test_archive_query_writes_archived_items_in_the_same_form_as_results(
    pool: Engine, capsys: Told
) -> None:
    before = {
        form: lines(capsys, "results", "letters", form) for form in ("--csv", "--jsonl", "--json")
    }
    assert archive(pool) == 3
    assert lines(capsys, "results", "letters", "--jsonl") == []
    for form, said in before.items():
        assert lines(capsys, "archive", "query", "letters", form) == said


def test_archived_items_are_selected_by_key_and_by_time_of_receipt(
    pool: Engine, capsys: Told
) -> None:
    assert archive(pool) == 3

    def keys(*options: str) -> list[str]:
        found = lines(capsys, "archive", "query", "letters", *options)
        return [json.loads(each)["key"] for each in found]

    assert keys() == ["k0", "k1", "k2"]
    assert keys("--key", "k1") == ["k1"]
    assert keys("--since", later(days=1).isoformat()) == ["k1", "k2"]
    assert keys("--until", later(days=1).isoformat()) == ["k0"]
    assert keys("--since", later(days=9).isoformat()) == []
    assert app(["archive", "query", "letters", "--key", "other"]) == 2
    assert 'has no archived item "other"' in capsys.readouterr().err


def test_an_archived_item_is_explained(pool: Engine, capsys: Told) -> None:
    def told(*options: str) -> dict:
        return json.loads("\n".join(lines(capsys, "explain", "letters", "k0", "--json", *options)))

    before, trace = told(), told("--trace")
    assert archive(pool) == 3
    after = told()
    assert after["item"] == before["item"]
    assert after["happenings"][:-1] == before["happenings"]
    assert after["happenings"][-1]["what"] == "archived"
    assert (
        after["next"] == "Done: it is archived, and it can no longer be amended, labeled or retried"
    )
    assert told("--trace") == trace
