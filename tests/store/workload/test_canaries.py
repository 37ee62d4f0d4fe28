"""Candidate versions: each is stored next to the version in force and gets a share of the newly routed items."""

from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from lanes.commands.publish import publish as publish_file
from lanes.errors import ActionRefused
from lanes.ids import VersionId
from lanes.rollouts.rollout import RollBack
from lanes.routing.split import version_bucket
from lanes.store.rollouts import rollout_moves
from lanes.store.workload import candidates, workloads
from tests.conftest import NOON
from tests.examples import admit, publish, route, spec
from tests.prefect_standin import PrefectStandIn
from tests.rollouts import begin, playbook, step
from tests.store.tries import rows
from tests.store.workload.test_publish_commands import (
    Told,
    a_file,
    in_force,
    in_this_process,
    prefect,
    stands,
)

__all__ = ["in_this_process", "prefect"]

NEW: dict[str, Any] = {"patience_s": 5}


def stored(connection: Connection) -> tuple[VersionId, VersionId]:
    """Return the version in force and a new candidate version."""
    before = publish(connection, now=NOON)
    return before.id, candidates.store(connection, "letters", spec(**NEW), now=NOON).id


def versions_of_work(connection: Connection) -> dict[str, VersionId]:
    """Return the version of each item's work, by key."""
    keys = {each.id: each.key for each in rows(connection, "item")}
    return {keys[each.item_id]: each.version_id for each in rows(connection, "work")}


def expected(*keys: str, share: int, old: VersionId, new: VersionId) -> dict[str, VersionId]:
    """Map each key to the version that its bucket selects."""
    return {
        key: new if version_bucket("letters", entity=None, key=key) < share else old for key in keys
    }


def test_a_candidate_is_stored_once_and_not_in_force(connection: Connection) -> None:
    old, new = stored(connection)
    again = candidates.store(connection, "letters", spec(**NEW), now=NOON)
    assert (again.id, again.number) == (new, 2)
    assert workloads.read_versions(connection)["letters"].id == old
    assert candidates.find(connection, "letters") == again
    admit(connection, "a", now=NOON)
    route(connection, now=NOON)
    assert versions_of_work(connection) == {"a": old}


def test_a_candidate_ends_only_when_its_own_definition_is_dismissed_and_can_then_be_published(
    connection: Connection,
) -> None:
    _, new = stored(connection)
    assert candidates.is_candidate(connection, "letters", spec(**NEW))
    candidates.dismiss(connection, "letters", spec(patience_s=7))
    assert candidates.is_candidate(connection, "letters", spec(**NEW))
    candidates.dismiss(connection, "letters", spec(**NEW))
    assert not candidates.is_candidate(connection, "letters", spec(**NEW))
    assert publish(connection, now=NOON, **NEW).id == new


def test_publishing_another_version_drops_the_candidate(connection: Connection) -> None:
    stored(connection)
    publish(connection, now=NOON, patience_s=7)
    assert candidates.find(connection, "letters") is None


def test_a_first_version_and_the_version_in_force_are_refused_as_candidates(
    connection: Connection,
) -> None:
    with pytest.raises(ActionRefused, match=r"no version in force .* publish it without --canary"):
        candidates.store(connection, "letters", spec(), now=NOON)
    publish(connection, now=NOON)
    with pytest.raises(ActionRefused, match=r"version 1 of workload .* is in force already"):
        candidates.store(connection, "letters", spec(), now=NOON)
    assert len(rows(connection, "version")) == 1


def test_no_other_version_is_published_while_a_canary_is_open(connection: Connection) -> None:
    stored(connection)
    candidates.set_share(connection, "letters", 0)
    refused = "open canary of version 2: let it end, or run `lanes rollout abort letters`"
    for patience_s in (NEW["patience_s"], 7):
        with pytest.raises(ActionRefused, match=refused):
            publish(connection, now=NOON, patience_s=patience_s)
        with pytest.raises(ActionRefused, match=refused):
            candidates.store(connection, "letters", spec(patience_s=patience_s), now=NOON)
    with pytest.raises(ActionRefused, match=refused):
        candidates.dismiss(connection, "letters", spec(**NEW))
    assert publish(connection, now=NOON).number == 1  # in force: nothing to do


def test_items_keep_their_version_while_the_share_changes(pool: Engine) -> None:
    """Admit items on one connection before, between and after changes of the share on another."""
    with pool.begin() as connection:
        old, new = stored(connection)
    keys = [f"k{n}" for n in range(60)]
    wanted = dict[str, VersionId]()
    with pool.connect() as sender, pool.connect() as mover:
        for number, share in enumerate((0, 2_000, 10_000, None)):
            mine = keys[number * 15 : number * 15 + 15]
            with sender.begin():
                admit(sender, *mine, now=NOON)
                with mover.begin():
                    candidates.set_share(mover, "letters", share)
            with sender.begin():
                route(sender, now=NOON)
            wanted |= expected(*mine, share=share or 0, old=old, new=new)
            with sender.begin():
                assert versions_of_work(sender) == wanted
    assert set(wanted.values()) == {old, new}


def test_all_new_items_get_the_candidate_once_it_is_in_force(connection: Connection) -> None:
    old, new = stored(connection)
    candidates.set_share(connection, "letters", 5_000)
    admit(connection, *(f"k{n}" for n in range(10)), now=NOON)
    route(connection, now=NOON)
    before = versions_of_work(connection)
    candidates.put_in_force(connection, "letters")
    assert workloads.read_versions(connection)["letters"].id == new
    assert candidates.find(connection, "letters") is None
    admit(connection, "later", now=NOON)
    route(connection, now=NOON)
    assert versions_of_work(connection) == before | {"later": new}
    assert set(before.values()) == {old, new}


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_version_whose_canary_was_rolled_back_is_put_in_force_only_with_force(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    stands(pool, prefect, patience_s=5)
    with pool.begin() as connection:
        publish(connection, now=NOON)
        candidates.store(connection, "letters", spec(patience_s=5), now=NOON)
        begun = begin(connection, playbook(step(50), step(100), direction="version"), version=1)
        rollout_moves.apply(connection, begun, RollBack("too slow"), [], now=NOON)
    said = f"version 1 stays out of force, because its rollout {begun.id} was rolled back: too slow. `lanes"
    assert publish_file(a_file(patience_s=5), yes=True) == 1
    assert said in capsys.readouterr().err
    assert publish_file(a_file(patience_s=5), canary="new-version", yes=True) == 0
    assert publish_file(a_file(patience_s=5), yes=True, force=True) == 0
    assert in_force(pool).number == 1
