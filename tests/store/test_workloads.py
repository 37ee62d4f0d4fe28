"""Versions and splits: what is in force, and what stays."""

from sqlalchemy import Connection

from lanes.split import Split
from lanes.store import workloads
from tests.conftest import NOON, later
from tests.examples import publish
from tests.store.tries import row, rows


def test_publishing_the_same_definition_twice_makes_one_version(connection: Connection) -> None:
    first, again = publish(connection, now=NOON), publish(connection, now=later(days=1))
    assert (first.id, first.number) == (again.id, again.number)
    assert row(connection, "version").published_at == NOON


def test_changed_content_is_a_new_version_in_force_and_the_old_one_stays(connection: Connection) -> None:
    first = publish(connection, now=NOON)
    second = publish(connection, now=NOON, patience_s=5)
    assert (first.number, second.number) == (1, 2)
    assert workloads.in_force(connection)["letters"].id == second.id
    known = workloads.versions(connection, [first.id, second.id])
    assert known[first.id].spec.patience_s != known[second.id].spec.patience_s == 5


def test_publishing_old_content_again_puts_its_old_version_in_force(connection: Connection) -> None:
    first = publish(connection, now=NOON)
    publish(connection, now=NOON, patience_s=5)
    assert publish(connection, now=NOON).id == first.id
    assert workloads.in_force(connection)["letters"].id == first.id
    assert len(rows(connection, "version")) == 2


def test_a_first_version_sets_the_first_split_and_later_ones_leave_it(connection: Connection) -> None:
    publish(connection, now=NOON, split_percent=12.5)
    publish(connection, now=NOON, split_percent=80)
    assert workloads.splits(connection).of("letters", None).basis_points == 1_250
    assert row(connection, "split").who == "lanes"


def test_the_newest_split_of_a_consumer_is_in_force_and_the_narrower_wins(connection: Connection) -> None:
    publish(connection, now=NOON)
    for consumer, points in ((None, 100), ("desk", 200), (None, 300), ("desk", 400)):
        split = Split("letters", consumer, points)
        workloads.set_split(connection, split, who="ada", why="trial", now=NOON)
    splits = workloads.splits(connection)
    assert splits.of("letters", "desk").basis_points == 400
    assert splits.of("letters", "other").basis_points == 300
    assert len(rows(connection, "split")) == 5


def test_a_paused_workload_is_not_active_until_it_is_resumed(connection: Connection) -> None:
    publish(connection, now=NOON, weight=3)
    assert workloads.active(connection) == {"letters": 3}
    assert workloads.pause(connection, "letters", since=NOON)
    assert workloads.active(connection) == {}
    assert workloads.pause(connection, "letters", since=None)
    assert workloads.active(connection) == {"letters": 3}
    assert not workloads.pause(connection, "ghosts", since=NOON)
