"""A queue is looked through from where it was claimed up to; the whole of it as often as that is cheap."""

from lanes.realtime.heads import WHOLE_REST, Heads
from tests.conftest import later


def test_the_first_look_is_at_the_whole_queue() -> None:
    assert Heads().look(0.0).since == {}


def test_after_a_slow_look_only_what_ranks_behind_the_last_claim_is_looked_at_until_it_has_rested() -> None:
    heads = Heads()
    heads.looked(heads.look(0.0), {"letters": later(seconds=3)}, took_s=0.2, at=0.2)
    soon = heads.look(0.2 + WHOLE_REST * 0.2 - 0.01)
    assert (soon.whole, soon.since) == (False, {"letters": later(seconds=3)})
    assert heads.look(0.2 + WHOLE_REST * 0.2).whole


def test_looks_from_the_head_on_do_not_put_off_the_next_whole_one() -> None:
    heads = Heads()
    heads.looked(heads.look(0.0), {"letters": later()}, took_s=0.2, at=0.2)
    for at in (0.4, 0.6, 0.8, 1.0):
        look = heads.look(at)
        assert not look.whole
        heads.looked(look, {"letters": later(seconds=at)}, took_s=0.1, at=at + 0.1)
    assert heads.look(1.2).whole


def test_a_quick_look_is_followed_by_another_at_once() -> None:
    heads = Heads()
    heads.looked(heads.look(0.0), {"letters": later()}, took_s=0.001, at=0.001)
    assert heads.look(0.006).whole


def test_work_that_was_found_before_the_head_moves_it_back() -> None:
    heads = Heads()
    heads.looked(heads.look(0.0), {"letters": later(hours=1), "bills": later(hours=2)}, took_s=0.2, at=0.2)
    heads.looked(heads.look(2.0), {"letters": later()}, took_s=0.2, at=2.2)
    assert heads.look(2.3).since == {"letters": later(), "bills": later(hours=2)}
