"""A batch that nobody can tell apart at the provider is held until a person decides."""

import pytest
from sqlalchemy import Connection

from lanes.errors import ActionRefused
from lanes.store import batches, held
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import intend, row, rows


@pytest.fixture
def batch(connection: Connection) -> int:
    """A held batch of two items."""
    letters = publish(connection, now=NOON)
    admit(connection, "a", "b", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, _ = intend(connection, letters)
    batches.hold(connection, batch_id, note="several fit", now=NOON)
    return batch_id


def test_an_adopted_batch_is_polled_and_collected_as_any_other(connection: Connection, batch: int) -> None:
    said = held.adopt(connection, "letters", batch, "msgbatch_7", now=later(minutes=5))
    assert said.startswith(f"batch {batch} of letters is msgbatch_7")
    (open_,) = batches.open_batches(connection)
    assert (open_.state, open_.provider_batch_id, open_.submitted_at) == ("submitted", "msgbatch_7", later(minutes=5))
    assert {each.state for each in rows(connection, "work")} == {"submitted"}


def test_a_batch_that_is_given_up_leaves_its_items_for_the_next(connection: Connection, batch: int) -> None:
    said = held.resubmit(connection, "letters", batch, who="ada", now=later(minutes=5))
    assert said == f"batch {batch} of letters is given up: 2 items wait for the next batch, and may be paid twice"
    assert {(each.state, each.failures) for each in rows(connection, "work")} == {("ready", 0)}
    kept = row(connection, "batch_status")
    assert (kept.state, kept.note) == ("released", "given up by ada; the provider may have it all the same")


def test_what_cannot_be_decided_is_refused(connection: Connection, batch: int) -> None:
    with pytest.raises(ActionRefused, match='workload "letters" has no batch 99'):
        held.resubmit(connection, "letters", 99, who="ada", now=NOON)
    with pytest.raises(ActionRefused, match="has no batch"):
        held.adopt(connection, "ghosts", batch, "msgbatch_7", now=NOON)
    held.adopt(connection, "letters", batch, "msgbatch_7", now=NOON)
    with pytest.raises(ActionRefused, match="is submitted; only a held batch"):
        held.resubmit(connection, "letters", batch, who="ada", now=NOON)


def test_one_batch_at_the_provider_is_never_two_of_ours(connection: Connection, batch: int) -> None:
    held.adopt(connection, "letters", batch, "msgbatch_7", now=NOON)
    admit(connection, "c", "d", "e", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    second, _ = intend(connection, publish(connection, now=NOON))
    batches.hold(connection, second, note="several fit", now=NOON)
    with pytest.raises(ActionRefused, match="is msgbatch_7 already"):
        held.adopt(connection, "letters", second, "msgbatch_7", now=NOON)
