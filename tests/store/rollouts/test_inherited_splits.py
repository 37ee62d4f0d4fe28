"""Consumer splits that end, by hand or after a rollout: the consumer inherits the workload's split again."""

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from lanes.errors import ActionRefused
from lanes.rollouts.rollout import Finish, RollBack
from lanes.routing.split import Split
from lanes.store.report import snapshot
from lanes.store.rollouts import rollout_moves, rollouts
from lanes.store.workload import workloads
from tests.conftest import NOON, later
from tests.examples import publish
from tests.rollouts import begin, playbook, step
from tests.store.tries import rows


def set_split(connection: Connection, consumer: str | None, percent: int) -> None:
    workloads.set_split(
        connection, Split("letters", consumer, percent * 100), who="ada", why="trial", now=NOON
    )


def share(connection: Connection, consumer: str | None) -> float:
    """Return the real-time share of a consumer in percent; the router and all other readers must agree on it."""
    _, routing = workloads.to_route(connection, ["letters"])
    (read,) = {
        each.of("letters", consumer).basis_points
        for each in (routing, workloads.splits(connection))
    }
    return read / 100


@pytest.mark.parametrize("how", ["rolled back", "aborted"])
def test_a_rolled_back_or_aborted_consumer_rollout_restores_the_inherited_split(
    connection: Connection, how: str
) -> None:
    publish(connection, now=NOON, split_percent=30)
    begun = begin(connection, playbook(step(50), step(60)), consumer="desk")
    assert (begun.inherited_before, share(connection, "desk"), share(connection, None)) == (
        True,
        50,
        30,
    )
    if how == "aborted":
        rollout_moves.abort(connection, "letters", who="bob", why="enough", now=NOON)
    else:
        rollout_moves.apply(connection, begun, RollBack("ill"), [], now=NOON)
    ended = rollouts.find(connection, begun.id)
    assert ended.back_to == "back to the split of the workload"
    assert share(connection, "desk") == 30
    set_split(connection, None, 80)
    assert share(connection, "desk") == 80  # the consumer inherits again
    assert [each.consumer for each in snapshot.take(connection, since=NOON, now=NOON).splits] == [
        None
    ]
    history = rollouts.split_history(connection, "letters", "desk", 5)
    assert [each.basis_points for each in history] == [None, 5_000]


def test_rolling_back_a_consumer_rollout_restores_the_consumers_own_split(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, split_percent=30)
    set_split(connection, "desk", 20)
    begun = begin(connection, playbook(step(50)), consumer="desk")
    rollout_moves.apply(connection, begun, RollBack("ill"), [], now=NOON)
    set_split(connection, None, 80)
    assert (begun.inherited_before, share(connection, "desk")) == (False, 20)


def test_a_finished_rollout_of_a_consumer_that_inherited_keeps_its_last_share(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, split_percent=30)
    set_split(connection, "desk", 20)
    workloads.inherit_split(connection, "letters", "desk", who="ada", why="trial", now=NOON)
    begun = begin(connection, playbook(step(50)), consumer="desk")
    rollout_moves.apply(connection, begun, Finish("well"), [], now=NOON)
    assert (begun.inherited_before, begun.share_before, share(connection, "desk")) == (
        True,
        3_000,
        50,
    )


def test_a_workloads_own_split_never_inherits(connection: Connection) -> None:
    publish(connection, now=NOON)
    begun = begin(connection)
    rollout_moves.apply(connection, begun, RollBack("ill"), [], now=NOON)
    assert (begun.inherited_before, share(connection, None)) == (False, 0)
    with pytest.raises(IntegrityError, match="only_a_consumer_inherits"), connection.begin_nested():
        connection.exec_driver_sql(
            "insert into lanes.split (workload, consumer, basis_points, who, why, set_at) "
            "values ('letters', null, null, 'ada', 'trial', now())"
        )


def test_a_person_ends_a_consumers_split(connection: Connection) -> None:
    publish(connection, now=NOON, split_percent=30)
    with pytest.raises(ActionRefused, match="has no split of its own"):
        rollouts.inherit_split_by_hand(
            connection, "letters", "desk", who="bob", why="trial", now=NOON
        )
    set_split(connection, "desk", 20)
    said = rollouts.inherit_split_by_hand(
        connection, "letters", "desk", who="bob", why="trial", now=later(hours=1)
    )
    assert (
        said
        == 'letters for consumer "desk": inherits the workload\'s split, 30 % to real-time, 20 % before'
    )
    assert share(connection, "desk") == 30
    assert (
        rows(connection, "split", "id")[-1].who,
        rows(connection, "split", "id")[-1].set_at,
    ) == ("bob", later(hours=1))
    begin(connection, playbook(step(50)), consumer="desk")
    with pytest.raises(ActionRefused, match="abort the rollout first"):
        rollouts.inherit_split_by_hand(
            connection, "letters", "desk", who="bob", why="trial", now=NOON
        )
