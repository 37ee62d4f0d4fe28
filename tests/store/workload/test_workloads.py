"""Versions and splits: which are in force, and which are kept."""

import pytest
from sqlalchemy import Connection, text

from lanes.errors import SpecInvalid
from lanes.routing.split import Split
from lanes.store import work
from lanes.store.workload import workloads
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import row, rows


def test_publishing_the_same_definition_twice_makes_one_version(connection: Connection) -> None:
    first, again = publish(connection, now=NOON), publish(connection, now=later(days=1))
    assert (first.id, first.number) == (again.id, again.number)
    assert row(connection, "version").published_at == NOON


def test_changed_content_becomes_a_new_version_in_force_and_the_old_version_is_kept(
    connection: Connection,
) -> None:
    first = publish(connection, now=NOON)
    second = publish(connection, now=NOON, patience_s=5)
    assert (first.number, second.number) == (1, 2)
    assert workloads.read_versions(connection)["letters"].id == second.id
    known = workloads.versions(connection, [first.id, second.id])
    assert known[first.id].spec.patience_s != known[second.id].spec.patience_s == 5


def test_publishing_old_content_again_puts_its_old_version_in_force(connection: Connection) -> None:
    first = publish(connection, now=NOON)
    publish(connection, now=NOON, patience_s=5)
    assert publish(connection, now=NOON).id == first.id
    assert workloads.read_versions(connection)["letters"].id == first.id
    assert len(rows(connection, "version")) == 2


def test_only_the_first_version_of_a_workload_sets_its_split(connection: Connection) -> None:
    publish(connection, now=NOON, split_percent=12.5)
    publish(connection, now=NOON, split_percent=80)
    assert workloads.splits(connection).of("letters", None).basis_points == 1_250
    assert row(connection, "split").who == "lanes"


def test_the_newest_split_applies_and_a_consumers_own_split_wins(connection: Connection) -> None:
    publish(connection, now=NOON)
    for consumer, points in ((None, 100), ("desk", 200), (None, 300), ("desk", 400)):
        split = Split("letters", consumer, points)
        workloads.set_split(connection, split, who="ada", why="trial", now=NOON)
    splits = workloads.splits(connection)
    assert splits.of("letters", "desk").basis_points == 400
    assert splits.of("letters", "other").basis_points == 300
    assert len(rows(connection, "split")) == 5


def test_a_paused_workload_is_not_served_until_it_is_resumed(connection: Connection) -> None:
    letters = publish(connection, now=NOON, split_percent=100)
    admit(connection, "a", now=NOON)
    route(connection, now=NOON)
    assert work.read_waiting(connection, Lane.REALTIME, now=NOON).versions == {"letters": letters}
    assert workloads.pause(connection, "letters", since=NOON)
    assert work.read_waiting(connection, Lane.REALTIME, now=NOON).versions == {}
    assert workloads.pause(connection, "letters", since=None)
    assert work.read_waiting(connection, Lane.REALTIME, now=NOON).versions == {"letters": letters}
    assert not workloads.pause(connection, "ghosts", since=NOON)


def spoil(connection: Connection, name: str, spec: str) -> None:
    """Merge JSON that this release does not expect into the stored version of the workload."""
    connection.execute(
        text("update lanes.version set spec = spec || cast(:spec as jsonb) where workload = :name"),
        {"spec": spec, "name": name},
    )


@pytest.mark.parametrize(
    "kept",
    [
        '{"batch_model": "claude-of-yesterday"}',
        '{"forgotten_field": 1}',
        '{"promises": {"forgotten": 1}}',
    ],
)
def test_a_stored_version_with_outdated_content_remains_readable(
    connection: Connection, kept: str
) -> None:
    stored = publish(connection, now=NOON)
    spoil(connection, "letters", kept)
    assert workloads.read_versions(connection)["letters"].number == 1
    assert (
        workloads.versions(connection, [stored.id])[stored.id].spec.instructions
        == stored.spec.instructions
    )
    assert workloads.one(connection, stored.id).id == stored.id


def test_an_unreadable_version_is_reported_and_affects_no_other_workload(
    connection: Connection,
) -> None:
    broken, sound = publish(connection, "broken", now=NOON), publish(connection, now=NOON)
    spoil(connection, "broken", '{"weight": "heavy"}')
    found = workloads.read_in_force(connection)
    assert list(found.versions) == ["letters"]
    (problem,) = found.unreadable
    assert problem.workload == "broken"
    assert "its stored version 1 cannot be read; weight:" in str(problem)
    assert list(workloads.versions(connection, [broken.id, sound.id])) == [sound.id]
    with pytest.raises(SpecInvalid, match="weight"):
        workloads.one(connection, broken.id)
    publish(connection, "broken", now=NOON, patience_s=5)  # repairs the workload
    assert workloads.read_in_force(connection).unreadable == []
