"""The commands about replays, and `client.amend`, on a database without a stand."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from lanes import client
from lanes.commands import replay as commands
from lanes.errors import Refused, UnknownWorkload
from lanes.store.replays import replays
from lanes.words import Lane, Signature
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, row, rows, save, submit, tried

FORCED = commands.StreamPart(force=True)
Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def letters(pool: Engine, address: str, monkeypatch: pytest.MonkeyPatch) -> Version:
    """Settle three letters in a database that commands and clients find."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pool.begin() as connection:
        version = publish(connection, now=NOON)
        admit(connection, "a", "b", "c", now=NOON, lane=Lane.REALTIME)
        route(connection, now=NOON)
        save(connection, *(tried(each, output=A) for each in claim(connection)))
    return version


def said(
    told: Told, command: Callable[..., int], *arguments: Any, code: int = 0, **options: Any
) -> Any:
    """Run the command; return its JSON, or its error sentence if another exit code is expected."""
    assert command("letters", *arguments, as_json=True, **options) == code
    out, err = told.readouterr()
    return err.strip() if code else json.loads(out)


def answer(pool: Engine, letters: Version) -> None:
    """Answer the replay's work in a batch."""
    with pool.begin() as connection:
        _, waiting = submit(connection, letters, now=later(days=999))
        save(connection, *(tried(each, output=B) for each in waiting))


@pytest.mark.slow
def test_a_replay_is_previewed_begun_compared_promoted_demoted_and_dropped(
    pool: Engine, letters: Version, capsys: Told
) -> None:
    assert said(capsys, commands.replay, part=FORCED, preview=True)["items"] == 3
    begun = said(capsys, commands.replay, part=FORCED, why="a better prompt")
    assert (begun["number"], begun["items"], begun["departure_asked"], begun["state"]) == (
        1,
        3,
        False,
        "running",
    )
    assert "open work (3 items)" in said(capsys, commands.promote, code=1)
    assert "before another replay" in said(capsys, commands.replay, code=1)
    answer(pool, letters)
    compared = said(capsys, commands.diff)
    assert (compared["share"], compared["diff"]["fields"]) == (1.0, {"category": 3})
    assert said(capsys, commands.promote)["changed"] == 3
    assert "demote it before you drop it" in said(capsys, commands.drop, code=1)
    assert said(capsys, commands.demote)["changed"] == 3
    assert "only a promoted replay can be demoted" in said(capsys, commands.demote, code=1)
    assert said(capsys, commands.drop)["state"] == "dropped"


@pytest.mark.slow
def test_replay_commands_print_sentences_and_refuse_with_the_reason(
    pool: Engine, letters: Version, capsys: Told
) -> None:
    assert commands.diff("letters") == 1
    assert commands.replay("ghosts") == 2
    assert commands.replay("letters", version=4) == 1
    err = capsys.readouterr().err
    assert 'workload "letters" was never replayed' in err
    assert 'workload "ghosts" has no published version' in err
    assert "its versions are 1 to 1" in err
    assert commands.replay("letters", part=FORCED, preview=True) == 0
    assert commands.replay("letters", part=FORCED) == 0
    answer(pool, letters)
    assert commands.diff("letters") == 0
    assert commands.promote("letters") == 0
    out = capsys.readouterr().out
    assert "3 items at positions 1 to 3 with version 1, about $" in out
    assert 'generation 1 of "letters": 3 items will be answered by version 1' in out
    assert "3 items shown from generation 1" in out


def test_the_replay_command_resumes_a_replay_whose_reader_was_killed(
    pool: Engine, capsys: Told
) -> None:
    asked = {"version_no": None, "first": None, "last": None, "by": Signature("ada", "", NOON)}
    asked |= {"selection": FORCED.selection(NOON)}
    with pool.begin() as connection:
        begun = replays.begin(connection, "letters", **asked)
        replays.read_some(connection, begun.id, limit=1, now=NOON)
    assert said(capsys, commands.replay, part=FORCED)["items"] == 3
    with pool.connect() as connection:
        assert len(rows(connection, "work", purpose="replay")) == 3


def test_an_amendment_by_the_client_returns_its_outcome(pool: Engine) -> None:
    assert client.amend("letters", "a", {"text": "late"}) == client.Sent("a", "amended")
    assert client.amend("letters", "a", {"text": "late"}).outcome == "duplicate"
    assert client.amend("letters", "later", {"text": "early"}).outcome == "waiting"
    with pytest.raises(UnknownWorkload, match="ghosts"):
        client.amend("ghosts", "a", {"text": "late"})
    with pytest.raises(Refused, match="payload"):
        client.amend("letters", "a", {"text": "a\x00"})
    with pool.connect() as connection:
        assert row(connection, "item", key="a").payload == {"text": "late"}
