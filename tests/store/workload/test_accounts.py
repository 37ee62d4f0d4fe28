"""The provider account of each workload, as recorded in the database."""

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.promises.breaches import frozen
from lanes.promises.incident import Incident, IncidentState
from lanes.realtime.circuit import Fault
from lanes.settling.story import next_step
from lanes.store import incidents
from lanes.store.promises import causes, recording
from lanes.store.realtime import load, outages
from lanes.store.rollouts import rollouts
from lanes.store.settling import story
from lanes.store.workload import accounts
from lanes.store.workload.accounts import LaneAccount
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.rollouts import begin
from tests.store.tries import claim, row, save, tried

MODEL = "claude-haiku-5-5"


def test_a_workload_gets_its_blocks_account_once_a_run_has_noted_that_account(
    connection: Connection,
) -> None:
    publish(connection, "letters", now=NOON)
    publish(connection, "bills", now=NOON, provider="eu")
    assert accounts.read_account(connection, "bills") == LaneAccount("", 0, "eu")
    assert accounts.note(connection, {"lanes": "acme"}, now=NOON) == {"lanes", "eu"}
    accounts.note(connection, {"lanes": "acme", "eu": "acme-eu"}, now=NOON)
    assert accounts.read_account(connection, "letters").name == "acme"
    assert accounts.read_account(connection, "bills").name == "acme-eu"
    assert accounts.last_change(connection) is None
    assert accounts.list_workloads(connection, "eu") == ["bills"]
    assert sorted(accounts.list_workloads(connection, None)) == ["bills", "letters"]


def test_a_version_with_another_block_moves_its_workload_to_the_account_of_that_block(
    connection: Connection,
) -> None:
    publish(connection, "letters", now=NOON)
    known = {"lanes": "acme", "eu": "acme-eu"}
    accounts.note(connection, known, now=NOON)
    publish(connection, "letters", now=later(hours=1), provider="eu")
    accounts.note(connection, known, now=later(hours=2))
    assert accounts.read_account(connection, "letters") == LaneAccount("acme-eu", 0, "eu")
    assert accounts.last_change(connection) == later(hours=2)
    accounts.note(connection, known, now=later(hours=3))
    assert accounts.last_change(connection) == later(hours=2)


def test_a_run_with_an_outdated_account_name_does_not_overwrite_the_new_name(
    connection: Connection,
) -> None:
    publish(connection, "letters", now=NOON)
    accounts.note(connection, {"lanes": "old"}, new=["lanes"], now=NOON)
    accounts.note(connection, {"lanes": "new"}, new=["lanes"], now=NOON)
    accounts.note(connection, {"lanes": "old"}, now=NOON)
    assert accounts.read_account(connection, "letters").name == "new"
    assert accounts.last_change(connection) is None


def test_naming_the_default_block_makes_no_new_version(connection: Connection) -> None:
    first = publish(connection, "letters", now=NOON)
    assert publish(connection, "letters", now=NOON, provider="lanes").id == first.id


def test_the_next_call_notes_a_workload_that_another_transaction_had_locked(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, "letters", now=NOON)
        publish(connection, "bills", now=NOON)
    with pool.connect() as holder, pool.connect() as noting:
        holder.execute(text("select from lanes.workload where name = 'bills' for update"))
        with noting.begin():
            noting.execute(text("set local lock_timeout = '1s'"))
            accounts.note(noting, {"lanes": "acme"}, now=NOON)
        assert accounts.read_account(noting, "letters").name == "acme"
        assert accounts.read_account(noting, "bills").name == ""
        noting.rollback()
        holder.rollback()
        with noting.begin():
            accounts.note(noting, {"lanes": "acme"}, now=NOON)
            assert row(noting, "workload", name="bills").account == "acme"


def trouble_abroad(connection: Connection, abroad: str = "bills") -> list[Incident]:
    """Publish two workloads that use one model through two accounts; one account fails, then refuses. Return open incidents."""
    for name in ("letters", "bills"):
        provider = "eu" if name == abroad else "lanes"
        publish(connection, name, now=NOON, provider=provider)
        admit(connection, f"of {name}", now=NOON, workload=name, lane=Lane.REALTIME)
    route(connection, now=NOON)
    accounts.note(connection, {"lanes": "acme", "eu": "acme-eu"}, now=NOON)
    outages.record_fault(connection, "acme-eu", MODEL, Fault("529", 5, NOON, NOON), now=NOON)
    incidents.open(connection, frozen("acme-eu", 1, "402: no credit"), now=NOON)
    return incidents.list_newest(connection, states=[IncidentState.OPEN])


def test_incidents_of_an_account_concern_only_its_own_workloads(connection: Connection) -> None:
    for each in trouble_abroad(connection):
        assert causes.list_workloads(connection, each) == ["bills"]


def test_waiting_items_are_explained_by_faults_of_their_own_account_only(
    connection: Connection,
) -> None:
    trouble_abroad(connection)
    told = {
        name: next_step(story.records(connection, name, f"of {name}", now=NOON), NOON)
        for name in ("letters", "bills")
    }
    assert told["letters"].endswith("a drain claims it")
    assert "402: no credit" in told["bills"]


def test_only_answers_to_its_own_workloads_thaw_a_frozen_account(connection: Connection) -> None:
    trouble_abroad(connection)
    of = {each.workload: each for each in claim(connection, now=NOON)}
    save(connection, tried(of["letters"], at=later(minutes=1)), now=later(minutes=1))
    assert recording.thaw(connection, now=later(minutes=2)) == []
    save(connection, tried(of["bills"], at=later(minutes=3)), now=later(minutes=3))
    assert len(recording.thaw(connection, now=later(minutes=4))) == 1


def test_an_outage_at_one_account_appears_only_in_the_load_of_that_account(
    connection: Connection,
) -> None:
    trouble_abroad(connection)
    rests = {
        name: set(load.snapshot(connection, LaneAccount(name, 0, provider), now=NOON).rests)
        for name, provider in (("acme", "lanes"), ("acme-eu", "eu"))
    }
    assert rests == {"acme": set(), "acme-eu": {MODEL}}


@pytest.mark.parametrize(
    ("abroad", "hindered"), [("bills", []), ("letters", ["provider_down", "provider_frozen"])]
)
def test_a_rollout_is_hindered_only_by_incidents_of_its_own_account(
    connection: Connection, abroad: str, hindered: list[str]
) -> None:
    trouble_abroad(connection, abroad)
    found = rollouts.list_hindering(connection, begin(connection))
    assert [each.promise for each in found] == hindered
