"""The scheduler of a drain: its claims, the packs that start, and the reasons why other packs wait."""

from collections.abc import Sequence
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import WorkId
from lanes.money.pack_size import PackDecision, PackPlace, PackSizes
from lanes.packing import ClaimedWork
from lanes.realtime.circuit import Fault
from lanes.realtime.circuit import open_circuit as opens
from lanes.realtime.limiter import Pack, WaitReason
from lanes.realtime.state import DrainState
from lanes.routing.capacity import Need
from lanes.words import Lane, Purpose
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import version
from tests.unit.realtime.work import LETTERS, claimed

BILLS = version(2, "bills", buffer_s=2, realtime_pack=4)
NOTES = version(3, "notes", buffer_s=0)
NARROW = version(1, "letters", buffer_s=0, max_share_percent=25)
MODEL = LETTERS.spec.realtime_model


class Scheduling:
    """A scheduler and its limiters. Calls that it started are in flight until they end."""

    def __init__(self, most: int = 4, *versions: Version, sizes: PackSizes | None = None) -> None:
        self.state = DrainState(NOON, most_calls=most, sizes=sizes, jitter=lambda: 1.0)
        self.of, self.backpressure = self.state.scheduler, self.state.backpressure
        self.health, self.rates = self.state.health, self.state.rates
        self.versions = {each.id: each for each in (LETTERS, BILLS, NOTES, *versions)}
        self.running: list[Pack] = []

    def take_in(self, *items: ClaimedWork, now: datetime = NOON) -> None:
        ids = {each.version_id for each in items}
        self.of.take_in(items, {id_: self.versions[id_] for id_ in ids}, now)

    def wanted(self, *of: Version, now: datetime = NOON) -> dict[str, int]:
        return self.of.plan_claims({each.workload: each for each in of}, now)

    def start(self, now: datetime = NOON) -> list[list[int]]:
        """Start packs, and return the work of each."""
        packs = self.of.start(now)
        self.running += packs
        return [[int(work) for work in pack.work] for pack in packs]

    def end(self, *, shadow: bool = False) -> None:
        pack = next(each for each in self.running if each.measures is shadow)
        self.running.remove(pack)
        self.of.ended(pack, Need(0, 0, 1), NOON)

    def fault(self, work: int = 1) -> None:
        self.health.record_fault(MODEL, [WorkId(work)], now=NOON)

    def told(self, remaining: int, *, limit: int = 10) -> None:
        """Report, in the headers of an answer, the number of requests that remain in this minute."""
        pack = Pack(LETTERS, [claimed(-1)], NOON)
        self.rates.started(pack, NOON)
        reset = later(seconds=60 * (limit - remaining) / limit).isoformat()
        said = {"limit": str(limit), "remaining": str(remaining), "reset": reset}
        headers = {f"anthropic-ratelimit-requests-{name}": value for name, value in said.items()}
        self.rates.learn_headers(pack, headers, NOON)
        self.rates.ended(pack, Need(0, 0, 1), NOON)


def ids(given_up: Sequence[ClaimedWork]) -> list[int]:
    return [int(each.claim.work_id) for each in given_up]


def quick(places: int = 16) -> Scheduling:
    """Return a scheduler after short calls: for sixteen places it claims eight more items ahead."""
    one = Scheduling(places)
    one.state.places.record_answer(0.4)
    return one


def probing() -> Scheduling:
    """Return a scheduler that took the probe a second after noon; the circuit of its only model opened at noon."""
    one, at = Scheduling(), later(seconds=1)
    circuit = opens(Fault("529", 3, NOON, NOON), NOON)
    one.health.circuits.learn_shared({MODEL: circuit}, NOON)
    one.health.record_probe(MODEL, circuit.take_probe(at), at)
    return one


def shadows(*numbers: int, of: Version = LETTERS) -> list[ClaimedWork]:
    return [
        claimed(number, of, rank_at=later(days=1, seconds=number), purpose=Purpose.SHADOW)
        for number in numbers
    ]


def some(*numbers: int, of: Version = LETTERS) -> list[ClaimedWork]:
    return [claimed(number, of) for number in numbers]


def test_a_workload_without_a_window_is_claimed_for_the_free_places() -> None:
    one = Scheduling(4)
    assert one.wanted(LETTERS) == {"letters": 4}
    one.take_in(claimed(1))
    one.start()
    assert one.wanted(LETTERS) == {"letters": 3}


@pytest.mark.parametrize(
    ("scope", "calls"),
    [("workload", [[1, 3, 5], [2, 4, 6]]), ("consumer", [[1, 5], [3], [2, 4], [6]])],
)
def test_a_call_contains_items_of_one_version_and_of_one_consumer_if_its_scope_is_consumer(
    scope: str, calls: list[list[int]]
) -> None:
    old, new = (version(n, "letters", realtime_pack=5, pack_scope=scope) for n in (8, 9))
    one, consumers = Scheduling(4, old, new), ["crm", "crm", "shop", "crm", "crm", None]
    of = enumerate(consumers, 1)
    one.take_in(*(claimed(n, old if n % 2 else new, consumer=each) for n, each in of))
    assert one.start() == calls


def test_short_calls_are_claimed_ahead_and_work_that_waits_for_a_place_counts_as_claimed() -> None:
    one = quick()
    assert one.wanted(LETTERS) == {"letters": 24}
    one.take_in(*some(*range(24)))
    assert len(one.start()) == 16
    assert one.wanted(LETTERS) == {}
    one.end()
    assert one.start() == [[16]]
    assert one.wanted(LETTERS) == {"letters": 1}


def test_a_drain_is_supplied_while_no_place_is_free_and_over_half_of_its_advance_work_waits() -> (
    None
):
    one = quick()
    one.take_in(*some(*range(24)))
    assert not one.of.is_supplied(NOON)
    one.start()
    supplied: list[bool] = []
    for _ in range(8):
        supplied.append(one.of.is_supplied(NOON))
        one.end()
        assert not one.of.is_supplied(NOON)
        one.start()
    assert supplied == [True] * 4 + [False] * 4


def test_a_drain_with_long_calls_is_never_supplied() -> None:
    one = Scheduling(1)
    one.take_in(claimed(1))
    one.start()
    assert not one.of.is_supplied(NOON)


def test_work_claimed_ahead_of_one_workload_does_not_take_places_from_another() -> None:
    one = quick()
    one.take_in(*some(*range(24)))
    one.start()
    one.end()
    assert one.wanted(LETTERS, NOTES) == {"notes": 1}


def test_no_work_is_claimed_ahead_for_a_recovering_model() -> None:
    one, now = quick(), later(seconds=1)
    one.fault()
    assert one.wanted(LETTERS, now=now) == {"letters": 1}
    one.take_in(claimed(2), now=now)
    assert one.wanted(LETTERS, now=now) == {}


def test_work_claimed_ahead_is_given_up_if_its_workload_freezes_but_buffered_work_is_kept() -> None:
    one = quick()
    one.take_in(*some(*range(18)), claimed(99, BILLS))
    one.start()
    assert one.of.give_up_stranded(NOON) == []
    one.backpressure.freeze_workload("letters", NOON)
    assert ids(one.of.give_up_stranded(NOON)) == [16, 17]
    assert one.of.give_up_stranded(NOON) == []
    assert ids(one.of.give_up_all()) == [99]


def test_one_pack_of_a_workload_with_a_window_is_claimed_to_probe_its_model() -> None:
    one, now = probing(), later(seconds=1)
    assert one.wanted(BILLS, now=now) == {"bills": 4}
    one.take_in(*some(*range(4), of=BILLS), now=now)
    assert one.wanted(BILLS, now=now) == {}


def test_work_outside_its_window_is_given_up_in_an_outage_except_for_the_probe() -> None:
    one, now = probing(), later(seconds=1)
    late = [claimed(n, BILLS, failures=1, rank_at=later(seconds=n)) for n in (5, 3, 7)]
    one.take_in(*late)
    assert ids(one.of.give_up_stranded(now)) == [5, 7]
    assert one.start(now) == [[3]]
    one.take_in(claimed(9, BILLS, failures=1))
    assert ids(one.of.give_up_stranded(now)) == [9]


def test_work_outside_its_window_waits_through_a_rest_without_a_circuit() -> None:
    one = Scheduling()
    one.take_in(claimed(1, BILLS, failures=1))
    one.fault(2)
    assert one.of.give_up_stranded(NOON) == []


def test_a_workload_with_a_window_claims_packs_for_all_places_minus_buffered_and_waiting_items() -> (
    None
):
    one = Scheduling()
    assert one.wanted(BILLS) == {"bills": 16}
    one.take_in(claimed(1, BILLS), claimed(2, BILLS), claimed(3, BILLS, failures=1))
    assert one.wanted(BILLS) == {"bills": 13}


def test_no_work_is_claimed_while_its_budget_is_used_up_or_its_workload_or_model_rests() -> None:
    one = Scheduling()
    assert not one.of.is_held_back(NOON)
    one.of.budget.mark_used_up(["letters"], later(seconds=2))
    assert one.wanted(LETTERS, BILLS).keys() == {"bills"}
    one.backpressure.freeze_workload("bills", NOON)
    now = later(seconds=2)
    assert one.wanted(LETTERS, BILLS, now=now).keys() == {"letters"}
    one.health.record_fault(MODEL, [WorkId(1)], now=now)
    assert one.wanted(LETTERS, BILLS, now=now) == {}
    assert one.of.is_held_back(now)
    assert one.of.next_moment(now) == later(seconds=2.25)
    one.backpressure.slow_down(MODEL, retry_after_s=9, now=NOON)
    assert one.of.is_held_back(later(seconds=8))
    assert one.of.next_moment(later(seconds=8)) == later(seconds=9)


def test_claimed_work_starts_even_after_its_budget_is_used_up() -> None:
    one = Scheduling()
    one.take_in(claimed(1))
    one.of.budget.mark_used_up(["letters"], later(seconds=2))
    assert one.of.give_up_stranded(NOON) == []
    assert one.start() == [[1]]


def test_the_most_urgent_pack_starts_first_and_the_next_one_waits_for_a_place() -> None:
    one = Scheduling(1)
    one.take_in(claimed(1, rank_at=later(seconds=20)), claimed(2, rank_at=later(seconds=10)))
    assert one.start() == [[2]]
    assert one.start() == []
    one.end()
    assert one.start() == [[1]]


def test_buffered_items_start_as_one_pack_when_their_window_ends() -> None:
    one = Scheduling()
    one.take_in(claimed(1, BILLS), claimed(2, BILLS))
    assert one.start(later(seconds=1.9)) == []
    assert one.of.next_moment(NOON) == later(seconds=2)
    assert one.start(later(seconds=2)) == [[1, 2]]
    assert one.of.next_moment(later(seconds=2)) is None


def test_each_pack_waits_for_the_first_limiter_that_does_not_admit_it() -> None:
    other = version(7, "others", buffer_s=0, realtime_model="claude-sonnet-5-5")
    one = Scheduling(1, other)
    one.take_in(*some(1, 2, of=other), *shadows(3, of=other), claimed(4))
    one.fault()
    assert one.start() == [[1]]
    assert one.of.reasons(NOON) == {
        ("letters", WaitReason.RECOVERING): 1,
        ("others", WaitReason.PLACES): 1,
        ("others", WaitReason.SHADOW): 1,
    }
    one.backpressure.freeze(NOON)
    assert one.of.reasons(NOON)["letters", WaitReason.FROZEN] == 1
    assert one.of.reasons(NOON)["others", WaitReason.FROZEN] == 1


@given(
    st.lists(
        st.tuples(st.sampled_from([LETTERS, BILLS]), st.integers(0, 1), st.integers(0, 60)),
        max_size=30,
    )
)
def test_every_item_is_either_started_once_or_given_up(
    arrivals: list[tuple[Version, int, int]],
) -> None:
    one, met = Scheduling(), list[int]()
    for number, (of, failures, s) in enumerate(arrivals):
        now = later(seconds=number)
        one.take_in(claimed(number, of, failures=failures, rank_at=later(seconds=s)), now=now)
        met += [work for pack in one.start(now) for work in pack]
    met += ids(one.of.give_up_all())
    assert sorted(met) == list(range(len(arrivals)))
    assert one.of.give_up_all() == []


def test_a_pack_that_was_never_sent_uses_none_of_the_rate_limits() -> None:
    one = Scheduling()
    one.told(4)
    before = one.rates.room(LETTERS, NOON)
    one.take_in(claimed(1))
    one.start()
    one.of.ended(one.running.pop(), Need(0, 0, 0), NOON)
    assert one.rates.room(LETTERS, NOON) == before


def test_claims_and_calls_stay_within_the_rate_limits_and_pressing_work_may_use_the_reserve() -> (
    None
):
    one = quick()
    one.told(4)
    assert one.wanted(LETTERS) == {"letters": 4}
    one.take_in(*some(0, 1, 2), claimed(3, urgent=True))
    assert one.start() == [[0], [1], [3]]
    # The time at which item 2 fits without using the reserve, from its last try.
    assert one.of.next_moment(NOON) == later(seconds=6)
    assert one.of.is_held_back(NOON)


def test_with_only_the_reserve_left_one_item_at_a_time_is_claimed_and_kept_only_if_pressing() -> (
    None
):
    one = quick()
    one.told(1)
    assert one.wanted(LETTERS) == {"letters": 1}
    one.take_in(claimed(0))
    assert one.start() == []
    assert ids(one.of.give_up_stranded(NOON)) == [0]
    assert one.wanted(LETTERS, now=later(seconds=0.1)) == {}
    assert one.wanted(LETTERS, now=later(seconds=0.6)) == {"letters": 1}
    one.take_in(claimed(1, due_at=later(hours=1)))
    assert one.of.give_up_stranded(NOON) == []
    assert one.start() == [[1]]


def test_no_work_is_claimed_at_an_exhausted_rate_limit_until_a_call_fits_again() -> None:
    one = quick()
    one.told(0)
    assert one.wanted(LETTERS) == {}
    assert one.wanted(LETTERS, now=later(seconds=30)) == {"letters": 5}


def test_a_pack_presses_if_an_item_is_urgent_has_a_due_time_or_is_a_minute_late() -> None:
    usual = claimed(1, rank_at=NOON)

    def presses(*items: ClaimedWork, now: datetime = NOON) -> bool:
        return Pack(LETTERS, items, NOON).presses(now)

    assert not presses(usual)
    assert presses(usual, now=later(minutes=1))
    assert presses(usual, claimed(2, urgent=True))
    assert presses(claimed(3, due_at=later(hours=9)))


def test_shadows_start_only_while_no_owed_work_waits_and_are_given_up_for_owed_work() -> None:
    one = Scheduling(2)
    shadow = claimed(1, NOTES, rank_at=NOON, purpose=Purpose.SHADOW)
    one.take_in(shadow, *some(2, 3, 4))
    assert one.start() == [[2], [3]]
    assert one.of.give_up_shadows() == [shadow]
    assert one.start() == []
    one.end()
    one.end()
    one.take_in(shadow)
    assert one.start() == [[4]]
    assert one.of.give_up_shadows() == []
    assert one.start() == [[1]]


def test_shadows_get_half_of_the_places_and_owed_work_gets_the_others() -> None:
    one = Scheduling(4)
    one.take_in(*shadows(1, 2, 3))
    assert one.start() == [[1], [2]]
    assert one.wanted(NOTES) == {"notes": 2}
    one.take_in(*some(4, 5))
    assert one.start() == [[4], [5]]
    one.end()
    assert one.start() == []  # the place of an owed call is kept for owed work
    one.end(shadow=True)
    assert one.start() == [[3]]


def test_shadows_do_not_count_against_the_share_of_owed_work() -> None:
    narrow = version(1, "letters", buffer_s=0, max_share_percent=50)
    one = Scheduling(8, narrow)
    one.take_in(*shadows(1, 2, 3, 4))
    assert len(one.start()) == 4
    assert one.wanted(narrow, NOTES) == {"letters": 2, "notes": 2}
    one.take_in(*some(*range(10, 14)), *some(*range(20, 24), of=NOTES))
    assert one.start() == [[10], [11], [20], [21]]


def test_shadows_of_another_workload_leave_all_free_places_to_a_lone_waiting_workload() -> None:
    one = Scheduling(8, NARROW)
    one.take_in(*shadows(1, of=NOTES))
    assert one.start() == [[1]]
    one.take_in(*some(*range(10, 20)))
    assert len(one.start()) == 7


def test_no_workload_exceeds_its_share_among_shadows() -> None:
    one = Scheduling(8, NARROW)
    one.take_in(*shadows(1, 2), *shadows(3, of=NOTES))
    assert sorted(one.start()) == [[1], [2], [3]]
    one.take_in(*shadows(4), *shadows(5, of=NOTES))
    assert one.start() == [[5]]


def test_a_shadow_may_use_the_only_place() -> None:
    one = Scheduling(1)
    one.take_in(*shadows(1))
    assert one.start() == [[1]]


def test_shadows_do_not_count_as_supply_of_a_drain() -> None:
    one = quick()
    one.take_in(*shadows(*range(100, 108)), *some(*range(16)))
    one.start()
    assert one.state.places.free == 0
    assert not one.of.is_supplied(NOON)
    assert one.wanted(NOTES) == {"notes": 8}


def test_only_one_more_item_is_claimed_while_shadows_wait_until_owed_work_arrives() -> None:
    one = Scheduling(4)
    one.take_in(*shadows(*range(10)))
    assert one.start() == [[0], [1]]
    assert ids(one.of.give_up_shadows()) == [6, 7, 8, 9]
    assert one.wanted(LETTERS, BILLS) == {"letters": 1, "bills": 16}
    one.take_in(*shadows(10))
    assert one.of.next_moment(NOON) is None
    assert one.wanted(LETTERS) == {"letters": 1}
    one.take_in(claimed(11))
    assert one.of.next_moment(NOON) == later(seconds=0.05)
    assert one.start() == [[11]]
    assert one.wanted(LETTERS) == {"letters": 1}  # one place is free
    assert one.of.next_moment(later(seconds=0.05)) is None


def test_packs_are_as_large_as_evidence_allows() -> None:
    sizes = PackSizes({PackPlace.of(BILLS, Lane.REALTIME): PackDecision(2, 4, NOON)})
    one = Scheduling(4, sizes=sizes)
    assert one.wanted(BILLS) == {"bills": 8}
    one.take_in(*some(*range(4), of=BILLS))
    assert one.start() == [[0, 1], [2, 3]]
