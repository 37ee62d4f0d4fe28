"""How long the real-time lane needs for what waits of a workload, beside what others wait for."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lanes.realtime.limiter import divide
from lanes.routing.capacity import WINDOW, Limit, LimitKind, Need
from lanes.routing.lane_rules import LONG_OVERDUE
from lanes.routing.load import A_CALL, AddedItems, Load, RankedQueue
from lanes.workload.version import Entitlement
from tests.conftest import NOON, later

MODEL = "claude-haiku-5-5"
PLACES = 200


def load(
    entitled: dict[str, Entitlement] | None = None,
    *,
    per_s: float = 50,
    limits: dict[str, list[Limit]] | None = None,
    **waiting: int,
) -> Load:
    queues = [RankedQueue(name, MODEL, LONG_OVERDUE, items) for name, items in waiting.items()]
    return Load(NOON, per_s, queues=queues, entitled=entitled or {}, limits=limits or {})


def one(seen: Load, workload: str = "letters") -> float:
    """Seconds until one more item of it is answered."""
    return seen.drain_s(workload, MODEL, until=later(minutes=2), more=AddedItems(MODEL, 1, A_CALL))


def test_the_backlog_of_another_holds_nothing_up_but_by_its_share() -> None:
    assert one(load(archive=20_000)) == 2 / 50
    assert one(load(archive=20_000, letters=49)) == 100 / 50
    assert one(load(archive=10, letters=49)) == 60 / 50  # that is soon answered
    heavy = {"archive": Entitlement(3, 100), "letters": Entitlement(1, 100)}
    assert one(load(heavy, archive=20_000, letters=49)) == 200 / 50


def test_what_ranks_behind_in_another_workload_has_its_share_all_the_same() -> None:
    behind = Load(
        NOON,
        50,
        queues=[
            RankedQueue("letters", MODEL, NOON, 2_999),
            RankedQueue("archive", MODEL, later(hours=3), 20_000),
        ],
    )
    assert one(behind) == 6_000 / 50


def test_nobody_has_more_than_the_largest_share_while_others_wait() -> None:
    seen = load(
        {"letters": Entitlement(100, 25), "archive": Entitlement(1, 100)},
        archive=20_000,
        letters=99,
    )
    assert one(seen) == 400 / 50
    both = load(
        {name: Entitlement(1, 25) for name in ("letters", "archive")}, archive=20_000, letters=99
    )
    assert one(both) == 400 / 50  # half of the places are empty
    alone = load({"letters": Entitlement(1, 25)}, letters=99)
    assert one(alone) == 100 / 50


def test_the_limits_of_a_model_are_shared_as_the_places_are() -> None:
    limits = {MODEL: [Limit(LimitKind.REQUESTS, 60, 0, NOON + WINDOW, NOON)]}
    assert one(load(limits=limits, archive=20_000, letters=9)) == 20
    others = AddedItems("another", 20_000, Need(0, 0, 20_000))
    ours = AddedItems(MODEL, 10, Need(0, 0, 10))
    assert (
        load(limits=limits).drain_s("letters", MODEL, more=ours, beside={"archive": others}) == 10
    )


names = st.sampled_from(["letters", "archive", "bills", "mail"])
waits = st.dictionaries(
    names, st.tuples(st.integers(1, 20_000), st.integers(1, 9), st.integers(10, 100)), min_size=1
)


@pytest.mark.slow
@given(waits)
@example({"letters": (61, 1, 10), "archive": (1, 1, 69), "bills": (41, 1, 10)})
def test_it_takes_about_as_long_as_places_are_really_divided(
    of: dict[str, tuple[int, int, int]],
) -> None:
    entitled = {name: Entitlement(weight, most) for name, (_, weight, most) in of.items()}
    left = {name: items for name, (items, _, _) in of.items()}
    workload, seconds = next(iter(of)), 0
    while left.get(workload):
        seconds += 1
        waiting = {name: entitled[name] for name in left}
        given_out = divide(PLACES, waiting, in_flight={}, places=PLACES, rooms=left)
        left = dict(Counter(left) - Counter(given_out))
    queues = [RankedQueue(name, MODEL, LONG_OVERDUE, items) for name, (items, _, _) in of.items()]
    told = Load(NOON, PLACES, queues=queues, entitled=entitled).drain_s(workload, MODEL)
    assert (
        told * 0.5 - 3 <= seconds <= told * 1.35 + 3
    )  # it is longer where a heavy one is bounded, and a small one soon gone
