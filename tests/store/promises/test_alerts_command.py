"""`lanes alerts ack|silence` and `lanes digest`: the actions of the form, on the command line."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from lanes.commands.alerts import alerts
from lanes.commands.status import digest
from lanes.ids import IncidentId
from lanes.store import incidents
from lanes.store.database import clock
from tests.store.test_incidents import BREACH

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def opened(pool: Engine, address: str, monkeypatch: pytest.MonkeyPatch) -> IncidentId:
    """Open an incident at the time of the database's clock, which the commands use."""
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    with pool.begin() as connection:
        made = incidents.open(connection, BREACH, now=clock(connection))
    assert made is not None
    return made


def test_an_acknowledgement_is_shown_until_a_silence_replaces_it(
    opened: IncidentId, capsys: Told
) -> None:
    assert alerts("ack", opened, until="2h", why="the provider works on it") == 0
    assert f"incident {opened} is acknowledged until 20" in capsys.readouterr().out
    alerts()
    assert "by ada:" in capsys.readouterr().out
    assert alerts("silence", opened, until="06:00", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["until"][11:16] == "06:00"
    alerts(as_json=True)
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["handling"], listed["handled_by"]) == ("silenced", "ada")


def test_an_invalid_alerts_command_says_what_to_type_instead(
    opened: IncidentId, pool: Engine, capsys: Told
) -> None:
    assert alerts("ack") == 2
    assert "ack which? Say its number; `lanes alerts` lists them" in capsys.readouterr().err
    assert alerts("ack", 2_000_000_000) == 2
    assert "there is no incident 2000000000" in capsys.readouterr().err
    assert alerts("ack", opened, until="soon") == 2
    assert '"soon" is no moment' in capsys.readouterr().err
    assert alerts("ack", opened, until="31d") == 2
    assert "hours: Input should be less than or equal to 720" in capsys.readouterr().err
    with pool.begin() as connection:
        of = BREACH.promise, BREACH.workload
        incidents.resolve(connection, *of, sentence="Over.", now=clock(connection))
    assert alerts("ack", opened) == 1
    assert "`lanes alerts` lists those that are" in capsys.readouterr().err


def test_the_digest_is_printed_as_text_and_as_json(pool: Engine, capsys: Told) -> None:
    with pool.begin() as connection:
        incidents.open(connection, replace(BREACH, workload="bills"), now=clock(connection))
    assert digest() == 0
    said = capsys.readouterr().out
    assert "The lanes\n  Nothing arrived since" in said
    assert "Incidents\n  2 opened, 0 ended, 2 open." in said
    assert digest(as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["What needs a person"] == ["Nothing."]
