"""`lanes proposals`: the decisions of the form, from the command line."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from lanes.advice.proposals import ProposedRollout
from lanes.commands.advise import ProposalEdits, proposals
from lanes.standing.runs import Deployment
from lanes.store.database import clock
from lanes.store.rollouts import rollouts
from tests.prefect_standin import PrefectStandIn
from tests.store.advice.test_proposals import refresh, seed

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def made(
    pool: Engine, address: str, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> ProposedRollout:
    """Make a proposal at the time of the database's clock, which commands use."""
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url)
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    with pool.begin() as connection:
        now = clock(connection)
        seed(connection, "nightly", now=now - timedelta(days=2))
        (found,) = refresh(connection, now=now).proposed
    return found


def test_proposals_are_listed_as_a_table_and_as_json(made: ProposedRollout, capsys: Told) -> None:
    assert proposals() == 0
    table = capsys.readouterr().out
    assert "nightly" in table
    assert "50, 0 %" in table
    assert proposals(workload="letters", as_json=True) == 0
    (listed,) = json.loads(capsys.readouterr().out)["proposals"]
    assert (listed["id"], listed["consumer"], listed["state"]) == (made.id, "nightly", "open")
    assert listed["figures"]["too_early"] == {"low": 40 / 105, "high": 45 / 105}
    assert proposals(workload="ghosts") == 2
    assert 'no workload "ghosts"' in capsys.readouterr().err


@pytest.mark.slow
def test_an_approval_starts_the_rollout_and_requests_a_migrate_run(
    made: ProposedRollout, pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    assert proposals("edit", made.id, edits=ProposalEdits(percents=[60.0, 20.0]), why="slower") == 0
    assert "it stays open" in capsys.readouterr().out
    assert proposals("approve", made.id, who="bob", why="it saves", as_json=True) == 0
    done = json.loads(capsys.readouterr().out)
    with pool.begin() as connection:
        begun = rollouts.read_open(connection, "letters")
    assert begun is not None
    assert done["rollout"] == begun.id
    assert (begun.started_by, begun.why) == ("bob", "it saves")
    assert [each.percent for each in begun.playbook.steps] == [60, 20]
    assert [each.flow for each in prefect.runs] == [Deployment.MIGRATE]


def test_a_decline_is_signed_by_the_shell_user(made: ProposedRollout, capsys: Told) -> None:
    assert proposals("decline", made.id, why="audits") == 0
    assert f"proposal {made.id} is declined" in capsys.readouterr().out
    assert proposals(as_json=True) == 0
    (listed,) = json.loads(capsys.readouterr().out)["proposals"]
    assert (listed["state"], listed["who"], listed["why"]) == ("declined", "ada", "audits")
    assert proposals("approve", made.id) == 1
    assert "was declined by ada" in capsys.readouterr().err


def test_a_missing_or_unknown_proposal_number_is_a_usage_error(capsys: Told) -> None:
    assert proposals("approve") == 2
    assert "approve which? Say its number" in capsys.readouterr().err
    assert proposals("approve", 99) == 2
    assert "there is no proposal 99" in capsys.readouterr().err
