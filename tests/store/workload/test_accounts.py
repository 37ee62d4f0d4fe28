"""Which account answers which workload, as the database knows it."""

from sqlalchemy import Connection, Engine, text

from lanes.store.workload import accounts
from lanes.store.workload.accounts import LaneAccount
from tests.conftest import NOON, later
from tests.examples import publish
from tests.store.tries import row


def test_a_workload_has_the_account_of_its_block_from_when_a_run_opened_that(
    connection: Connection,
) -> None:
    publish(connection, "letters", now=NOON)
    publish(connection, "bills", now=NOON, provider="eu")
    assert accounts.of_workload(connection, "bills") == LaneAccount("", 0, "eu")
    assert accounts.note(connection, {"lanes": "acme"}, now=NOON) == {"lanes", "eu"}
    accounts.note(connection, {"lanes": "acme", "eu": "acme-eu"}, now=NOON)
    assert accounts.of_workload(connection, "letters").name == "acme"
    assert accounts.of_workload(connection, "bills").name == "acme-eu"
    assert accounts.last_change(connection) is None
    assert accounts.served_by(connection, "eu") == ["bills"]
    assert sorted(accounts.served_by(connection, None)) == ["bills", "letters"]


def test_a_version_with_another_block_moves_its_workload_once_it_is_in_force(
    connection: Connection,
) -> None:
    publish(connection, "letters", now=NOON)
    known = {"lanes": "acme", "eu": "acme-eu"}
    accounts.note(connection, known, now=NOON)
    publish(connection, "letters", now=later(hours=1), provider="eu")
    accounts.note(connection, known, now=later(hours=2))
    assert accounts.of_workload(connection, "letters") == LaneAccount("acme-eu", 0, "eu")
    assert accounts.last_change(connection) == later(hours=2)
    accounts.note(connection, known, now=later(hours=3))
    assert accounts.last_change(connection) == later(hours=2)


def test_a_run_that_read_an_old_name_of_the_account_does_not_write_it_again(
    connection: Connection,
) -> None:
    publish(connection, "letters", now=NOON)
    accounts.note(connection, {"lanes": "old"}, new=["lanes"], now=NOON)
    accounts.note(connection, {"lanes": "new"}, new=["lanes"], now=NOON)
    accounts.note(connection, {"lanes": "old"}, now=NOON)
    assert accounts.of_workload(connection, "letters").name == "new"
    assert accounts.last_change(connection) is None


def test_the_hash_of_a_version_that_names_no_block_is_as_before(connection: Connection) -> None:
    first = publish(connection, "letters", now=NOON)
    assert publish(connection, "letters", now=NOON, provider="lanes").id == first.id


def test_a_workload_that_another_transaction_holds_is_noted_by_the_next_call(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, "letters", now=NOON)
        publish(connection, "bills", now=NOON)
    with pool.connect() as holder, pool.connect() as noting:
        holder.execute(text("select from lanes.workload where name = 'bills' for update"))
        with noting.begin():
            noting.execute(text("set local lock_timeout = '1s'"))
            accounts.note(noting, {"lanes": "acme"}, now=NOON)
        assert accounts.of_workload(noting, "letters").name == "acme"
        assert accounts.of_workload(noting, "bills").name == ""
        noting.rollback()
        holder.rollback()
        with noting.begin():
            accounts.note(noting, {"lanes": "acme"}, now=NOON)
            assert row(noting, "workload", name="bills").account == "acme"
