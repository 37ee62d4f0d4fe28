"""What a workload announces: versions that existed keep each answer, and a release that knows the word republishes none."""

import pytest
from sqlalchemy import Connection, text

from lanes.store.workload import workloads
from lanes.workload.version import Spec
from tests.conftest import NOON, later
from tests.examples import publish, spec
from tests.store.tries import row, rows
from tests.unit.workload.test_announces import earlier_hash


@pytest.fixture
def from_before(connection: Connection) -> int:
    """The id of a version in force that a release without the word published."""
    letters = publish(connection, now=NOON)
    connection.execute(
        text(
            "update lanes.version set hash = :hash, spec = spec - 'announces', announces = 'each'"
        ),
        {"hash": earlier_hash(spec())},
    )
    return letters.id


def test_a_block_that_did_not_change_leaves_its_version_in_force_and_each_answer_announced(
    connection: Connection, from_before: int
) -> None:
    for edited in (spec(), Spec.model_validate(spec().edited()), spec(announces="each")):
        assert workloads.is_in_force(connection, "letters", edited)
        again = workloads.publish(connection, "letters", edited, now=later(hours=1))
        assert (again.id, again.number, again.spec.announces) == (from_before, 1, "each")
    assert (row(connection, "version").announces, len(rows(connection, "version"))) == ("each", 1)
    assert workloads.in_force(connection)["letters"].spec.announces == "each"


def test_a_new_publish_without_the_word_announces_real_time(
    connection: Connection, from_before: int
) -> None:
    changed = publish(connection, now=later(hours=1), weight=2)
    assert (changed.number, changed.spec.announces) == (2, "realtime")
    assert row(connection, "version", number=2).announces == "realtime"
    assert publish(connection, "memos", now=NOON).spec.announces == "realtime"
    assert (
        publish(connection, now=later(hours=2)).id == from_before
    )  # known content is its old version, as that was


def test_a_workload_can_ask_for_another_word_than_its_version_from_before(
    connection: Connection, from_before: int
) -> None:
    for number, word in enumerate(("realtime", "summary"), start=2):
        assert not workloads.is_in_force(connection, "letters", spec(announces=word))
        assert publish(connection, now=NOON, announces=word).number == number
        assert row(connection, "version", number=number).announces == word


def test_a_definition_that_no_longer_says_each_has_the_default(connection: Connection) -> None:
    publish(connection, now=NOON, announces="each")
    assert not workloads.is_in_force(connection, "letters", spec())
    assert publish(connection, now=NOON).number == 2
    assert workloads.is_in_force(connection, "letters", spec(announces="realtime"))
