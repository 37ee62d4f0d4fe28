"""Turns of consumers: by weight while they wait, nothing saved up, unused turns for others."""

from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from lanes.packing import ClaimedWork
from lanes.realtime.turns import MOST_CONSUMERS, ConsumerTurns, TurnOrder, WaitingConsumer
from lanes.workload.version import Spec
from tests.conftest import later
from tests.examples import spec
from tests.unit.realtime.work import claimed

NAMES = ("", "crm", "mail", "shop")
weights = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 10), min_size=2)


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
        self.turns.claimed(work(*taken), {"letters": len(taken)}, {"letters"})
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
    turns.claimed(work("crm", "crm"), {"letters": 3}, {"letters"})
    assert turns.looks_at == {}
    turns.claimed(work("crm", "crm"), {"letters": 2}, {"letters"})
    assert turns.looks_at == {"letters": ""}
    turns.claimed([], {}, {"letters"})  # no place was free
    assert turns.looks_at == {"letters": ""}
    turns.claimed([], {}, set())
    assert turns.looks_at == {}


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
    assert queue.turns.looks_at == {"letters": names[-1]}
    queue.claim(*names[:2], places=2)
    assert queue.turns.looks_at == {"letters": ""}
