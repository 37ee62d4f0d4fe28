"""Turns of consumers, and the cursors of the queues."""

from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from lanes.packing import ClaimedWork
from lanes.realtime.turns import (
    MOST_CONSUMERS,
    REST_S,
    SLOW_S,
    ConsumerTurns,
    QueueCursor,
    TurnOrder,
    WaitingConsumer,
)
from lanes.workload.version import Spec
from tests.conftest import later
from tests.examples import spec
from tests.unit.realtime.work import claimed

NAMES = ("", "crm", "mail", "shop")
weights = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 10), min_size=2)
SLOW = {"took_s": 0.2, "at": 0.2}
AGAIN = 0.2 + REST_S


def weighted(weights: Mapping[str, int]) -> Spec:
    return spec(consumers={name: {"weight": of} for name, of in weights.items() if name})


def waiting(*names: str) -> list[WaitingConsumer]:
    return [
        WaitingConsumer(name, later(seconds=number)) for number, name in enumerate(sorted(names))
    ]


def work(*consumers: str) -> list[ClaimedWork]:
    return [claimed(number, consumer=name or None) for number, name in enumerate(consumers, 1)]


class Queue:
    """A workload whose consumers wait, each with much work or with as much as is given."""

    def __init__(self, of: Spec) -> None:
        self.spec, self.turns = of, ConsumerTurns()

    def order(self, *names: str, places: int) -> TurnOrder | None:
        return self.turns.order("letters", self.spec, waiting(*names), places)

    def claim(self, *names: str, places: int, have: Mapping[str, int] | None = None) -> list[str]:
        """Claim the turns of a look, of which a consumer may have less work than turns."""
        order = self.order(*names, places=places)
        assert order is not None
        left = Counter({name: (have or {}).get(name, places) for name in names})
        taken = list[str]()
        for name in order.consumers:
            if left[name]:
                left[name] -= 1
                taken.append(name)
        self.turns.record_claims(work(*taken), {"letters": len(taken)}, {"letters"})
        return taken


@given(weights, st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_while_all_wait_each_is_served_by_its_weight_at_every_moment(
    weights: dict[str, int], looks: list[int]
) -> None:
    queue, served = Queue(weighted(weights)), Counter[str]()
    for places in looks:
        for name in queue.claim(*weights, places=places):
            served[name] += 1
    parts = {name: served[name] / queue.spec.weight_of(name) for name in weights}
    assert max(parts.values()) - min(parts.values()) <= 1


def test_a_consumer_of_weight_two_gets_twice_the_calls_of_one_of_weight_one() -> None:
    queue = Queue(weighted({"shop": 2}))
    assert Counter(queue.claim("crm", "shop", places=30)) == {"shop": 20, "crm": 10}


def test_who_comes_back_has_saved_up_no_turns_and_owes_none() -> None:
    queue = Queue(weighted({}))
    queue.claim("crm", "mail", places=100)
    assert Counter(queue.claim("crm", "mail", "shop", places=30)) == dict.fromkeys(
        ("crm", "mail", "shop"), 10
    )
    queue.claim("crm", "mail", places=90)
    assert Counter(queue.claim("crm", "mail", "shop", places=30))["shop"] == 10


def test_a_turn_without_work_counts_for_no_consumer() -> None:
    queue = Queue(weighted({}))
    assert Counter(queue.claim("crm", "shop", places=10, have={"crm": 10, "shop": 1})) == {
        "crm": 5,
        "shop": 1,
    }
    # four turns of the other were not used: at most they are caught up
    assert Counter(queue.claim("crm", "shop", places=10))["shop"] == 7


def test_only_where_a_claim_was_filled_are_consumers_looked_at() -> None:
    turns = ConsumerTurns()
    turns.record_claims(work("crm", "crm"), {"letters": 3}, {"letters"})
    assert turns.next_looks == {}
    turns.record_claims(work("crm", "crm"), {"letters": 2}, {"letters"})
    assert turns.next_looks == {"letters": ""}
    turns.record_claims([], {}, {"letters"})  # no place was free
    assert turns.next_looks == {"letters": ""}
    turns.record_claims([], {}, set())
    assert turns.next_looks == {}


def test_a_lone_consumer_takes_no_turns() -> None:
    queue = Queue(weighted({}))
    assert queue.order("crm", places=4) is None
    queue.claim("crm", "shop", places=4)
    assert queue.turns.waiting == {"letters": 2}
    assert queue.order("crm", places=4) is None
    assert queue.turns.waiting == {}


def test_more_consumers_than_are_listed_come_in_turns_of_a_list() -> None:
    queue = Queue(weighted({}))
    names = [f"c{number:03d}" for number in range(MOST_CONSUMERS)]
    queue.claim(*names, places=MOST_CONSUMERS)
    assert queue.turns.next_looks == {"letters": names[-1]}
    queue.claim(*names[:2], places=2)
    assert queue.turns.next_looks == {"letters": ""}


def test_the_first_look_is_through_the_whole_queue() -> None:
    assert QueueCursor().look(0.0).since == {}


def test_after_a_slow_look_only_what_ranks_behind_the_last_claim_is_looked_at_until_it_has_rested() -> (
    None
):
    heads = QueueCursor()
    heads.record_look(heads.look(0.0), {"letters": later(seconds=3)}, **SLOW)
    soon = heads.look(AGAIN - 0.5)
    assert (soon.whole, soon.since, heads.rest_s(AGAIN - 0.5)) == (
        False,
        {"letters": later(seconds=3)},
        0.5,
    )
    assert (heads.look(AGAIN).whole, heads.rest_s(AGAIN)) == (True, 0.0)


def test_looks_from_the_head_on_do_not_put_off_the_next_whole_one() -> None:
    heads = QueueCursor()
    heads.record_look(heads.look(0.0), {"letters": later()}, **SLOW)
    for at in (0.3, 0.5, 0.7, 0.9):
        look = heads.look(at)
        assert not look.whole
        heads.record_look(look, {"letters": later(seconds=at)}, took_s=0.1, at=at + 0.1)
    assert heads.look(AGAIN).whole


def test_every_look_is_whole_while_they_are_quick() -> None:
    heads = QueueCursor()
    for at in (0.0, 0.001, 0.003):
        look = heads.look(at)
        assert (look.whole, heads.rest_s(at)) == (True, 0.0)
        heads.record_look(look, {"letters": later()}, took_s=SLOW_S, at=at)


@given(st.floats(0.0, 600.0), st.floats(0.0, 600.0))
def test_however_long_a_look_took_the_next_one_from_the_head_comes_a_second_later(
    began: float, took_s: float
) -> None:
    """A table that is locked for 2 s hides nothing for 39 s."""
    heads = QueueCursor()
    heads.record_look(heads.look(began), {"letters": later()}, took_s=took_s, at=began + took_s)
    assert heads.rest_s(began + took_s) <= REST_S + 1e-9
    assert heads.look(began + took_s + REST_S).whole


def test_work_that_was_found_before_the_head_moves_it_back() -> None:
    heads = QueueCursor()
    heads.record_look(heads.look(0.0), {"letters": later(hours=1), "bills": later(hours=2)}, **SLOW)
    heads.record_look(heads.look(AGAIN), {"letters": later()}, took_s=0.2, at=AGAIN + 0.2)
    assert heads.look(AGAIN + 0.3).since == {"letters": later(), "bills": later(hours=2)}
