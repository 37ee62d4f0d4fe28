"""Looks begin where the queue was claimed up to, for a second after a look through the whole of it was slow."""

from hypothesis import given
from hypothesis import strategies as st

from lanes.realtime.turns import REST_S, SLOW_S, QueueCursor
from tests.conftest import later

SLOW = {"took_s": 0.2, "at": 0.2}
AGAIN = 0.2 + REST_S


def test_the_first_look_is_through_the_whole_queue() -> None:
    assert QueueCursor().look(0.0).since == {}


def test_after_a_slow_look_only_what_ranks_behind_the_last_claim_is_looked_at_until_it_has_rested() -> (
    None
):
    heads = QueueCursor()
    heads.looked(heads.look(0.0), {"letters": later(seconds=3)}, **SLOW)
    soon = heads.look(AGAIN - 0.5)
    assert (soon.whole, soon.since, heads.rest_s(AGAIN - 0.5)) == (
        False,
        {"letters": later(seconds=3)},
        0.5,
    )
    assert (heads.look(AGAIN).whole, heads.rest_s(AGAIN)) == (True, 0.0)


def test_looks_from_the_head_on_do_not_put_off_the_next_whole_one() -> None:
    heads = QueueCursor()
    heads.looked(heads.look(0.0), {"letters": later()}, **SLOW)
    for at in (0.3, 0.5, 0.7, 0.9):
        look = heads.look(at)
        assert not look.whole
        heads.looked(look, {"letters": later(seconds=at)}, took_s=0.1, at=at + 0.1)
    assert heads.look(AGAIN).whole


def test_every_look_is_whole_while_they_are_quick() -> None:
    heads = QueueCursor()
    for at in (0.0, 0.001, 0.003):
        look = heads.look(at)
        assert (look.whole, heads.rest_s(at)) == (True, 0.0)
        heads.looked(look, {"letters": later()}, took_s=SLOW_S, at=at)


@given(st.floats(0.0, 600.0), st.floats(0.0, 600.0))
def test_however_long_a_look_took_the_next_one_from_the_head_comes_a_second_later(
    began: float, took_s: float
) -> None:
    """A table that is locked for 2 s hides nothing for 39 s."""
    heads = QueueCursor()
    heads.looked(heads.look(began), {"letters": later()}, took_s=took_s, at=began + took_s)
    assert heads.rest_s(began + took_s) <= REST_S + 1e-9
    assert heads.look(began + took_s + REST_S).whole


def test_work_that_was_found_before_the_head_moves_it_back() -> None:
    heads = QueueCursor()
    heads.looked(heads.look(0.0), {"letters": later(hours=1), "bills": later(hours=2)}, **SLOW)
    heads.looked(heads.look(AGAIN), {"letters": later()}, took_s=0.2, at=AGAIN + 0.2)
    assert heads.look(AGAIN + 0.3).since == {"letters": later(), "bills": later(hours=2)}
