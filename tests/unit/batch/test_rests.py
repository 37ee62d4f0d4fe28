"""Who met trouble rests longer each time, and is told of once."""

from datetime import timedelta

from lanes.batch.rests import Rests
from lanes.settling.settle import LONGEST_BACKOFF


def test_rests_double_from_two_seconds_up_to_five_minutes() -> None:
    rests, now, pauses = Rests(), 100.0, []
    for _ in range(12):
        rests.troubled(1, "down", now)
        pauses.append(next(pause for pause in range(1, 10_000) if rests.over(1, now + pause)))
        now += pauses[-1]
    assert pauses[:4] == [2, 4, 8, 16]
    assert pauses[-1] == LONGEST_BACKOFF.total_seconds()


def test_who_has_no_trouble_does_not_rest() -> None:
    rests = Rests()
    rests.troubled(1, "down", 100.0)
    assert (rests.over(1, 100.0), rests.over(2, 100.0)) == (False, True)


def test_trouble_is_news_once_until_it_changes_or_is_over() -> None:
    rests = Rests()
    assert [rests.troubled(1, said, 0.0) for said in ("down", "down", "cut", "cut", "down")] == [
        True,
        False,
        True,
        False,
        True,
    ]
    assert rests.well(1)
    assert rests.troubled(1, "down", 0.0)


def test_who_is_well_again_rests_no_more_and_begins_with_the_shortest_rest() -> None:
    rests = Rests()
    for _ in range(5):
        rests.troubled(1, "down", 0.0)
    assert (rests.well(1), rests.over(1, 0.0), rests.well(1)) == (True, True, False)
    rests.troubled(1, "down", 0.0)
    assert rests.over(1, 2.0)


def test_a_rest_is_as_long_as_its_trouble_asks_for() -> None:
    rests = Rests()
    rests.troubled(1, "short", 0.0, at_least=timedelta(minutes=1))
    assert (rests.over(1, 59.0), rests.over(1, 60.0)) == (False, True)
