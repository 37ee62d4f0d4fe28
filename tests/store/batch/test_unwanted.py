"""A batch that nobody wants any more is to be cancelled, and no other is."""

import pytest
from sqlalchemy import Connection, text

from lanes.store.batch import doubts
from lanes.words import Lane, Mode, Purpose
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.late import LATE, canceled, in_batch, rescue
from tests.store.tries import claim, home, row, said, save, submit, tried


def test_a_batch_is_cancelled_only_when_none_of_its_items_is_wanted_any_more(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "a", "b")
    assert doubts.recall(connection, now=LATE) == []
    rescue(connection)
    assert doubts.recall(connection, now=LATE) == []
    one, other = claim(connection, now=LATE)
    save(connection, tried(one, at=LATE), now=LATE)
    assert doubts.recall(connection, now=LATE) == []
    save(connection, tried(other, at=LATE), now=LATE)
    assert doubts.recall(connection, now=LATE) == [batch_id]
    kept = row(connection, "batch")
    assert (kept.state, kept.cancel_at) == ("submitted", LATE)
    assert doubts.recall(connection, now=LATE) == []


def test_a_batch_that_is_the_pass_owed_is_wanted_and_so_is_one_that_may_be_a_stranger_s(
    connection: Connection,
) -> None:
    in_batch(connection, "k", mode=Mode.LAMBDA)
    rescue(connection)
    (mine,) = claim(connection, now=LATE)
    save(connection, tried(mine, at=LATE), now=LATE)
    assert doubts.recall(connection, now=LATE) == []
    canceled(connection)
    connection.execute(text("update lanes.batch set unproved = true"))
    assert doubts.recall(connection, now=LATE) == []


@pytest.mark.slow
def test_what_is_asked_only_to_measure_is_wanted_although_its_items_are_settled(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, batch_pack=40, pack_check_share=0.2)
    admit(connection, *(f"k{n}" for n in range(40)), now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, taken = submit(connection, letters, pack=40)
    response = said()
    save(connection, *(tried(each, response=response) for each in taken), batch_id=batch_id)
    home(connection, batch_id)
    _, again = submit(connection, letters, now=later(hours=1))
    assert {each.purpose for each in again} == {Purpose.SHADOW}
    assert doubts.recall(connection, now=later(hours=2)) == []
