"""Turns of consumers, and the cursors of the queues."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lanes.packing import ClaimedWork
from lanes.realtime.turns import (
    LONGEST_REST_S,
    MOST_CONSUMERS,
    REST_S,
    RESTS,
    SLOW_S,
    ConsumerLists,
    ConsumerTurns,
    QueueCursor,
    QueueLook,
    TurnOrder,
    WaitingConsumer,
)
from lanes.workload.version import Spec
from tests.conftest import later
from tests.examples import spec
from tests.unit.realtime.work import claimed

NAMES = ("", "crm", "mail", "shop")
weights = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 10), min_size=2)
SLOW = {"took_s": SLOW_S * 1.01, "at": 0.2}
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
    """A workload with waiting consumers, each with much work or with a given amount."""

    def __init__(self, of: Spec) -> None:
        self.spec, self.turns = of, ConsumerTurns()

    def order(self, *names: str, places: int) -> TurnOrder | None:
        return self.turns.order("letters", self.spec, waiting(*names), places)

    def claim(self, *names: str, places: int, have: Mapping[str, int] | None = None) -> list[str]:
        """Claim the turns of one read; a consumer may `have` less work than turns."""
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
def test_waiting_consumers_are_always_served_in_proportion_to_their_weights(
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


def test_a_returning_consumer_has_saved_up_no_turns_and_owes_none() -> None:
    queue = Queue(weighted({}))
    queue.claim("crm", "mail", places=100)
    assert Counter(queue.claim("crm", "mail", "shop", places=30)) == dict.fromkeys(
        ("crm", "mail", "shop"), 10
    )
    queue.claim("crm", "mail", places=90)
    assert Counter(queue.claim("crm", "mail", "shop", places=30))["shop"] == 10


def test_an_unused_turn_counts_for_no_consumer() -> None:
    queue = Queue(weighted({}))
    assert Counter(queue.claim("crm", "shop", places=10, have={"crm": 10, "shop": 1})) == {
        "crm": 5,
        "shop": 1,
    }
    # the other consumer left four turns unused, and catches up on these at most
    assert Counter(queue.claim("crm", "shop", places=10))["shop"] == 7


def test_the_consumers_of_a_workload_are_read_only_after_a_filled_claim() -> None:
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


def test_consumers_beyond_a_full_list_are_in_the_next_list() -> None:
    queue = Queue(weighted({}))
    names = [f"c{number:03d}" for number in range(MOST_CONSUMERS)]
    queue.claim(*names, places=MOST_CONSUMERS)
    assert queue.turns.next_looks == {"letters": names[-1]}
    queue.claim(*names[:2], places=2)
    assert queue.turns.next_looks == {"letters": ""}


def test_the_first_read_starts_at_the_head_of_the_queue() -> None:
    assert QueueCursor().look(0.0).since == {}


def test_reads_start_behind_the_last_claim_after_a_slow_read_until_the_rest_ends() -> None:
    heads = QueueCursor()
    heads.record_look(heads.look(0.0), {"letters": later(seconds=3)}, **SLOW)
    soon = heads.look(AGAIN - 0.5)
    assert (soon.whole, soon.since, heads.rest_s(AGAIN - 0.5)) == (
        False,
        {"letters": later(seconds=3)},
        0.5,
    )
    assert (heads.look(AGAIN).whole, heads.rest_s(AGAIN)) == (True, 0.0)


def test_reads_behind_the_last_claim_do_not_delay_the_next_whole_read() -> None:
    heads = QueueCursor()
    heads.record_look(heads.look(0.0), {"letters": later()}, **SLOW)
    for at in (0.3, 0.5, 0.7, 0.9):
        look = heads.look(at)
        assert not look.whole
        heads.record_look(look, {"letters": later(seconds=at)}, took_s=0.1, at=at + 0.1)
    assert heads.look(AGAIN).whole


def test_every_read_is_whole_while_reads_are_quick() -> None:
    heads = QueueCursor()
    for at in (0.0, 0.001, 0.003):
        look = heads.look(at)
        assert (look.whole, heads.rest_s(at)) == (True, 0.0)
        heads.record_look(look, {"letters": later()}, took_s=SLOW_S, at=at)


@given(st.floats(0.0, 600.0), st.floats(0.0, 600.0))
def test_the_next_whole_read_is_due_within_five_seconds_of_a_read_of_any_length(
    began: float, took_s: float
) -> None:
    """Check that a table that is locked for 2 s does not hide work for 39 s."""
    heads = QueueCursor()
    heads.record_look(heads.look(began), {"letters": later()}, took_s=took_s, at=began + took_s)
    assert heads.rest_s(began + took_s) <= LONGEST_REST_S + 1e-9
    assert heads.look(began + took_s + LONGEST_REST_S).whole


@given(st.floats(SLOW_S * 1.01, LONGEST_REST_S / RESTS))
def test_slow_reads_from_the_head_take_little_of_the_time(took_s: float) -> None:
    heads = QueueCursor()
    heads.record_look(heads.look(0.0), {"letters": later()}, took_s=took_s, at=took_s)
    assert not heads.look(took_s + RESTS * took_s * 0.99).whole


def test_work_found_before_the_cursor_moves_the_cursor_back() -> None:
    heads = QueueCursor()
    heads.record_look(heads.look(0.0), {"letters": later(hours=1), "bills": later(hours=2)}, **SLOW)
    heads.record_look(heads.look(AGAIN), {"letters": later()}, took_s=0.2, at=AGAIN + 0.2)
    assert heads.look(AGAIN + 0.3).since == {"letters": later(), "bills": later(hours=2)}


def test_consumers_are_listed_at_every_read_while_lists_are_quick() -> None:
    lists = ConsumerLists()
    for at in (0.0, 0.001, 0.003):
        assert lists.select_due({"letters": "crm"}, at) == {"letters": "crm"}
        lists.record(["letters"], {"letters": waiting("crm")}, took_s=SLOW_S, at=at)


@given(st.floats(SLOW_S * 1.01, 600.0))
def test_a_list_is_reused_for_a_time_in_proportion_to_its_slow_read(took_s: float) -> None:
    lists = ConsumerLists()
    lists.record(["letters"], {"letters": waiting("crm", "shop")}, took_s=took_s, at=0.0)
    rest_s = min(max(REST_S, RESTS * took_s), LONGEST_REST_S)
    assert lists.select_due({"letters": ""}, rest_s * 0.99) == {}
    assert lists.select_due({"letters": ""}, rest_s) == {"letters": ""}


def test_a_workload_without_a_recent_list_is_listed_during_the_reuse_of_others() -> None:
    lists = ConsumerLists()
    lists.record(["bills"], {}, took_s=0.0, at=0.0)
    lists.record(["letters"], {"letters": waiting("crm")}, took_s=0.1, at=LONGEST_REST_S)
    wanted = {"letters": "", "bills": "", "notes": ""}
    assert lists.select_due(wanted, LONGEST_REST_S + 0.5) == {"bills": "", "notes": ""}


def test_the_ranks_of_a_reused_list_move_on_with_its_age() -> None:
    """Check that urgent work that arrives during the reuse still goes first."""
    lists = ConsumerLists()
    lists.record(["letters"], {"letters": waiting("crm", "shop")}, took_s=0.1, at=0.0)
    assert lists.read("letters", 0.0) == waiting("crm", "shop")
    ranks = [each.rank_at for each in lists.read("letters", 2.0)]
    assert ranks == [later(seconds=2), later(seconds=3)]
    assert lists.read("bills", 2.0) == []


class InTurns:
    """A workload of two consumers whose work is claimed in turns."""

    def __init__(self) -> None:
        self.turns = ConsumerTurns()

    def claim(self, whole: bool, *work: ClaimedWork) -> Mapping[str, object]:
        self.turns.order("letters", spec(), waiting("crm", "shop"), 4)
        self.began = self.turns.start_ranks(QueueLook({}, whole))
        return self.turns.take(work)


def in_turn(number: int, consumer: str, seconds: int, **fields: Any) -> ClaimedWork:
    return claimed(number, consumer=consumer, rank_at=later(seconds=seconds), **fields)


def test_after_a_slow_read_each_consumer_s_turns_start_behind_its_last_claim() -> None:
    queue = InTurns()
    taken = queue.claim(True, in_turn(1, "crm", 5), in_turn(2, "crm", 6), in_turn(3, "shop", 2))
    assert (queue.began, taken) == ({"letters": {}}, {"letters": later(seconds=2)})
    assert queue.claim(False, in_turn(4, "shop", 9)) == {"letters": later(seconds=6)}
    assert queue.began == {"letters": {"crm": later(seconds=6), "shop": later(seconds=2)}}
    queue.claim(True, in_turn(5, "crm", 1))
    assert queue.began == {"letters": {}}


def test_a_workload_has_no_position_until_each_of_its_consumers_has_one() -> None:
    assert InTurns().claim(True, in_turn(1, "crm", 5)) == {}


def test_urgent_and_due_work_moves_no_position_because_it_overtakes_other_work() -> None:
    queue = InTurns()
    urgent = in_turn(1, "crm", 5, urgent=True), in_turn(2, "shop", 5, due_at=later(hours=1))
    assert queue.claim(True, *urgent) == {}
