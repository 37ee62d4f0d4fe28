"""Whose turn it is in a drain: what it may claim, what is asked, and what waits; one file because one look decides it all."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import WorkId
from lanes.money.pack_size import PackDecision, PackPlace, PackSizes
from lanes.packing import Claim, ClaimedWork
from lanes.realtime.call_limits import CallLimits
from lanes.realtime.circuit import Fault
from lanes.realtime.circuit import opened as opens
from lanes.realtime.health import Health
from lanes.realtime.pace import Pace
from lanes.realtime.turns import Turns
from lanes.words import Lane, Purpose
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import version

LETTERS = version(1, "letters", buffer_s=0)
BILLS = version(2, "bills", buffer_s=2, realtime_pack=4)
NOTES = version(3, "notes", buffer_s=0)
VERSIONS = {each.id: each for each in (LETTERS, BILLS, NOTES)}


def turns(pace: Pace | None = None, health: Health | None = None) -> Turns:
    return Turns(pace or Pace(most=4), health or Health(jitter=lambda: 1.0))


def take_in(opened: Turns, *claimed: ClaimedWork, now: datetime = NOON) -> None:
    opened.take_in(claimed, {each.version_id: VERSIONS[each.version_id] for each in claimed}, now)


def claimed(
    number: int,
    of: Version = LETTERS,
    *,
    rank_at: datetime | None = None,
    failures: int = 0,
    due_at: datetime | None = None,
    urgent: bool = False,
    purpose: Purpose = Purpose.ANSWER,
    consumer: str | None = None,
) -> ClaimedWork:
    return ClaimedWork(
        Claim(WorkId(number), 1),
        of.id,
        of.workload,
        f"k{number}",
        {},
        purpose,
        failures,
        rank_at or later(hours=1),
        due_at,
        urgent=urgent,
        consumer=consumer,
    )


def asked(opened: Turns, now: datetime = NOON) -> list[list[int]]:
    """The work of each pack that is asked now."""
    return [[each.claim.work_id for each in pack] for _, pack in opened.next_packs(now)]


def test_a_workload_without_a_window_is_claimed_for_the_free_places() -> None:
    pace = Pace(most=4)
    opened = turns(pace)
    assert opened.wanted({"letters": LETTERS}, NOON) == {"letters": 4}
    pace.began("letters", LETTERS.spec.realtime_model)
    assert opened.wanted({"letters": LETTERS}, NOON) == {"letters": 3}


@pytest.mark.parametrize(
    ("scope", "calls"), [("workload", [[1, 2, 3, 4]]), ("consumer", [[1, 3], [2], [4]])]
)
def test_a_call_holds_items_of_one_consumer_where_the_workload_says_so(
    scope: str, calls: list[list[int]]
) -> None:
    of = version(9, "letters", realtime_pack=5, pack_scope=scope)
    opened = turns()
    consumers = ["crm", "shop", "crm", None]
    some = [claimed(number, of, consumer=consumer) for number, consumer in enumerate(consumers, 1)]
    opened.take_in(some, {of.id: of}, NOON)
    assert asked(opened) == calls


def quick(places: int = 16) -> Pace:
    """A pace whose calls have been short: eight more are claimed ahead of sixteen places."""
    pace = Pace(most=places)
    pace.succeeded("claude-haiku-5-5", 0.4)
    return pace


def begin(opened: Turns, pace: Pace) -> list[list[int]]:
    """What is asked now is under way."""
    packs = opened.next_packs(NOON)
    for of, pack in packs:
        pace.began(of.workload, of.spec.realtime_model, measures=pack[0].measures)
    return [[each.claim.work_id for each in pack] for _, pack in packs]


def test_short_calls_are_claimed_ahead_of_their_places_and_what_waits_for_one_is_not_claimed_twice() -> (
    None
):
    pace = quick()
    opened = turns(pace)
    assert opened.wanted({"letters": LETTERS}, NOON) == {"letters": 24}
    take_in(opened, *(claimed(number) for number in range(24)))
    assert len(begin(opened, pace)) == 16
    assert opened.wanted({"letters": LETTERS}, NOON) == {}
    pace.ended("letters", LETTERS.spec.realtime_model)
    assert begin(opened, pace) == [[16]]
    assert opened.wanted({"letters": LETTERS}, NOON) == {"letters": 1}


def test_a_drain_is_supplied_while_no_place_is_free_and_half_of_what_it_claims_ahead_is_there() -> (
    None
):
    pace = quick()
    opened = turns(pace)
    take_in(opened, *(claimed(number) for number in range(24)))
    assert not opened.is_supplied(NOON)
    begin(opened, pace)
    supplied: list[bool] = []
    for _ in range(8):
        supplied.append(opened.is_supplied(NOON))
        pace.ended("letters", LETTERS.spec.realtime_model)
        assert not opened.is_supplied(NOON)
        begin(opened, pace)
    assert supplied == [True] * 4 + [False] * 4


def test_a_drain_of_long_calls_is_never_supplied_by_what_waits_in_it() -> None:
    pace = Pace(most=1)
    opened = turns(pace)
    pace.began("letters", LETTERS.spec.realtime_model)
    assert not opened.is_supplied(NOON)


def test_what_is_claimed_ahead_of_one_workload_keeps_no_place_from_another() -> None:
    pace = quick()
    opened = turns(pace)
    take_in(opened, *(claimed(number) for number in range(24)))
    begin(opened, pace)
    pace.ended("letters", LETTERS.spec.realtime_model)
    assert opened.wanted({"letters": LETTERS, "notes": NOTES}, NOON) == {"notes": 1}


def test_nothing_is_claimed_ahead_of_a_model_that_recovers() -> None:
    pace, health = quick(), Health(jitter=lambda: 1.0)
    opened = turns(pace, health)
    health.faulted(LETTERS.spec.realtime_model, [WorkId(1)], now=NOON)
    assert opened.wanted({"letters": LETTERS}, later(seconds=1)) == {"letters": 1}
    opened.take_in([claimed(2)], VERSIONS, later(seconds=1))
    assert opened.wanted({"letters": LETTERS}, later(seconds=1)) == {}


def test_what_was_claimed_ahead_is_given_up_where_the_provider_has_it_wait_and_what_gathers_is_kept() -> (
    None
):
    pace = quick()
    opened = turns(pace)
    take_in(opened, *(claimed(number) for number in range(18)), claimed(99, BILLS))
    begin(opened, pace)
    assert opened.give_up_ahead(NOON) == []
    pace.rest_workload("letters", later(seconds=30))
    assert [each.claim.work_id for each in opened.give_up_ahead(NOON)] == [16, 17]
    assert opened.give_up_ahead(NOON) == []
    assert [each.claim.work_id for each in opened.give_up()] == [99]


def probing(at: datetime) -> Health:
    """This drain holds the probe of the model of all of them since then; its circuit was opened at noon."""
    health = Health(jitter=lambda: 1.0)
    model, circuit = BILLS.spec.realtime_model, opens(Fault("529", 3, NOON, NOON), NOON)
    health.circuits.heard({model: circuit}, NOON)
    health.took_probe(model, circuit.probed(at), at)
    return health


def test_of_a_workload_with_a_window_one_pack_is_claimed_to_probe_its_model() -> None:
    opened = turns(health=probing(later(seconds=1)))
    assert opened.wanted({"bills": BILLS}, later(seconds=1)) == {"bills": 4}
    take_in(opened, *(claimed(number, BILLS) for number in range(4)), now=later(seconds=1))
    assert opened.wanted({"bills": BILLS}, later(seconds=1)) == {}


def test_what_left_its_window_is_not_kept_through_an_outage_but_for_the_probe() -> None:
    health, now = probing(later(seconds=1)), later(seconds=1)
    opened = turns(Pace(most=1), health)
    take_in(
        opened,
        *(
            claimed(number, BILLS, failures=1, rank_at=later(seconds=number))
            for number in (5, 3, 7)
        ),
    )
    assert [each.claim.work_id for each in opened.give_up_ahead(now)] == [5, 7]
    assert asked(opened, now) == [[3]]
    health.circuits.began(BILLS.spec.realtime_model, [WorkId(3)])
    take_in(opened, claimed(9, BILLS, failures=1))
    assert [each.claim.work_id for each in opened.give_up_ahead(now)] == [9]


def test_what_left_its_window_waits_through_a_rest_without_a_circuit() -> None:
    health = Health(jitter=lambda: 1.0)
    opened = turns(health=health)
    take_in(opened, claimed(1, BILLS, failures=1))
    health.faulted(BILLS.spec.realtime_model, [WorkId(2)], now=NOON)
    assert opened.give_up_ahead(NOON) == []


def test_a_workload_with_a_window_is_claimed_for_packs_in_all_places_less_what_gathers_or_waits() -> (
    None
):
    opened = turns()
    assert opened.wanted({"bills": BILLS}, NOON) == {"bills": 16}
    take_in(opened, claimed(1, BILLS), claimed(2, BILLS), claimed(3, BILLS, failures=1))
    assert opened.wanted({"bills": BILLS}, NOON) == {"bills": 13}


def test_nothing_is_claimed_while_the_account_or_the_model_rests() -> None:
    pace, health = Pace(most=4), Health(jitter=lambda: 1.0)
    opened = turns(pace, health)
    waiting = {"letters": LETTERS, "bills": BILLS}
    assert not opened.held_back(NOON)
    pace.rest_workload("bills", later(seconds=30))
    assert opened.wanted(waiting, NOON).keys() == {"letters"}
    health.faulted(LETTERS.spec.realtime_model, [WorkId(1)], now=NOON)
    assert opened.wanted(waiting, NOON) == {}
    assert opened.held_back(NOON)
    assert opened.next_moment(NOON) == later(seconds=0.25)
    pace.slow_down(LETTERS.spec.realtime_model, retry_after_s=9, now=NOON)
    assert opened.held_back(later(seconds=8))
    assert opened.next_moment(later(seconds=8)) == later(seconds=9)


def test_the_most_urgent_pack_is_asked_first_and_what_has_no_place_waits_for_one() -> None:
    pace = Pace(most=1)
    opened = turns(pace)
    take_in(opened, claimed(1, rank_at=later(seconds=20)), claimed(2, rank_at=later(seconds=10)))
    assert asked(opened) == [[2]]
    pace.began("letters", LETTERS.spec.realtime_model)
    assert asked(opened) == []
    pace.ended("letters", LETTERS.spec.realtime_model)
    assert asked(opened) == [[1]]


def test_what_gathers_leaves_as_one_pack_when_its_window_is_over() -> None:
    opened = turns()
    take_in(opened, claimed(1, BILLS), claimed(2, BILLS))
    assert asked(opened, later(seconds=1.9)) == []
    assert opened.next_moment(NOON) == later(seconds=2)
    assert asked(opened, later(seconds=2)) == [[1, 2]]
    assert opened.next_moment(later(seconds=2)) is None


@given(
    st.lists(
        st.tuples(st.sampled_from([LETTERS, BILLS]), st.integers(0, 1), st.integers(0, 60)),
        max_size=30,
    )
)
def test_everything_that_was_taken_in_is_asked_once_or_given_up(
    arrivals: list[tuple[Version, int, int]],
) -> None:
    opened, met = turns(), list[int]()
    for number, (of, failures, s) in enumerate(arrivals):
        take_in(
            opened,
            claimed(number, of, failures=failures, rank_at=later(seconds=s)),
            now=later(seconds=number),
        )
        met += [work for pack in asked(opened, later(seconds=number)) for work in pack]
    met += [each.claim.work_id for each in opened.give_up()]
    assert sorted(met) == list(range(len(arrivals)))
    assert opened.give_up() == []


def limited(opened: CallLimits, remaining: int, *, limit: int = 10) -> None:
    """An answer to a call of letters told so many requests of so many a minute."""
    opened.begun(LETTERS, [claimed(-1)], NOON)
    reset = later(seconds=60 * (limit - remaining) / limit).isoformat()
    said = {"limit": str(limit), "remaining": str(remaining), "reset": reset}
    opened.heard(
        LETTERS,
        [claimed(-1)],
        {f"anthropic-ratelimit-requests-{name}": value for name, value in said.items()},
        NOON,
    )
    opened.ended([claimed(-1)], [], NOON, requests=1)


def test_a_pack_that_was_never_asked_takes_nothing_of_the_limits() -> None:
    limits = CallLimits()
    limited(limits, 4)
    assert limits.begins(LETTERS, [claimed(1)], NOON)
    before = limits.room(LETTERS, pressing=True, now=NOON)
    limits.ended([claimed(1)], [], NOON, requests=0)
    after = limits.room(LETTERS, pressing=True, now=NOON)
    assert before is not None
    assert after == before + 1


def test_as_much_is_claimed_and_asked_as_the_providers_limits_hold_and_what_presses_has_the_reserve() -> (
    None
):
    limits, pace = CallLimits(), quick()
    opened = Turns(pace, Health(), limits)
    limited(limits, 4)
    assert opened.wanted({"letters": LETTERS}, NOON) == {"letters": 4}
    take_in(opened, *(claimed(number) for number in range(3)), claimed(3, urgent=True))
    assert asked(opened) == [[0], [1], [3]]
    assert opened.next_moment(NOON) == later(seconds=12)  # one for it, and the reserve again
    assert opened.held_back(NOON)


def test_where_only_the_reserve_is_left_the_most_urgent_is_looked_at_now_and_then_and_given_up_unless_it_presses() -> (
    None
):
    limits, pace = CallLimits(), quick()
    opened = Turns(pace, Health(), limits)
    limited(limits, 1)
    assert opened.wanted({"letters": LETTERS}, NOON) == {"letters": 1}
    take_in(opened, claimed(0))
    assert asked(opened) == []
    assert [each.claim.work_id for each in opened.give_up_ahead(NOON)] == [0]
    assert opened.wanted({"letters": LETTERS}, later(seconds=0.1)) == {}
    assert opened.wanted({"letters": LETTERS}, later(seconds=0.6)) == {"letters": 1}
    take_in(opened, claimed(1, due_at=later(hours=1)))
    assert opened.give_up_ahead(NOON) == []
    assert asked(opened) == [[1]]


def test_where_nothing_is_left_nothing_is_claimed_until_something_fits_again() -> None:
    limits = CallLimits()
    opened = Turns(quick(), Health(), limits)
    limited(limits, 0)
    assert opened.wanted({"letters": LETTERS}, NOON) == {}
    assert opened.wanted({"letters": LETTERS}, later(seconds=30)) == {"letters": 5}


def test_what_only_measures_begins_when_nothing_that_is_owed_waits_and_steps_back_for_it() -> None:
    pace = Pace(most=2)
    opened = turns(pace)
    shadow = claimed(1, NOTES, rank_at=NOON, purpose=Purpose.SHADOW)
    take_in(opened, shadow, *(claimed(number) for number in (2, 3, 4)))
    assert begin(opened, pace) == [[2], [3]]
    assert opened.give_up_measuring() == [shadow]
    assert begin(opened, pace) == []
    for _ in range(2):
        pace.ended("letters", LETTERS.spec.realtime_model)
    take_in(opened, shadow)
    assert begin(opened, pace) == [[4]]
    assert opened.give_up_measuring() == []
    assert begin(opened, pace) == [[1]]


def shadows(*numbers: int, of: Version = LETTERS) -> list[ClaimedWork]:
    return [
        claimed(number, of, rank_at=later(days=1, seconds=number), purpose=Purpose.SHADOW)
        for number in numbers
    ]


def test_what_only_measures_has_half_of_the_places_and_what_is_owed_finds_the_others_free() -> None:
    pace = Pace(most=4)
    opened = turns(pace)
    take_in(opened, *shadows(1, 2, 3))
    assert begin(opened, pace) == [[1], [2]]
    assert opened.wanted({"notes": NOTES}, NOON) == {"notes": 2}
    take_in(opened, claimed(4), claimed(5))
    assert begin(opened, pace) == [[4], [5]]
    pace.ended("letters", LETTERS.spec.realtime_model)
    assert begin(opened, pace) == []  # it was owed, and so is what comes next
    pace.ended("letters", LETTERS.spec.realtime_model, measures=True)
    assert begin(opened, pace) == [[3]]


def test_what_only_measures_counts_against_no_share_of_what_is_owed() -> None:
    narrow = version(1, "letters", buffer_s=0, max_share_percent=50)
    pace = Pace(most=8)
    opened = turns(pace)
    opened.take_in(shadows(1, 2, 3, 4), {narrow.id: narrow}, NOON)
    assert len(begin(opened, pace)) == 4
    waiting = {"letters": narrow, "notes": NOTES}
    assert opened.wanted(waiting, NOON) == {"letters": 2, "notes": 2}
    owed = [claimed(number) for number in range(10, 14)] + [
        claimed(number, NOTES) for number in range(20, 24)
    ]
    opened.take_in(owed, {narrow.id: narrow, NOTES.id: NOTES}, NOON)
    assert begin(opened, pace) == [[10], [11], [20], [21]]


def test_what_measures_for_others_leaves_a_workload_that_waits_alone_all_that_is_free() -> None:
    narrow = version(1, "letters", buffer_s=0, max_share_percent=25)
    pace = Pace(most=8)
    opened = turns(pace)
    opened.take_in(shadows(1, of=NOTES), {NOTES.id: NOTES}, NOON)
    assert begin(opened, pace) == [[1]]
    opened.take_in([claimed(number) for number in range(10, 20)], {narrow.id: narrow}, NOON)
    assert len(begin(opened, pace)) == 7


def test_among_what_only_measures_no_workload_has_more_than_its_share() -> None:
    narrow = version(1, "letters", buffer_s=0, max_share_percent=25)
    pace = Pace(most=8)
    opened = turns(pace)
    versions = {narrow.id: narrow, NOTES.id: NOTES}
    opened.take_in([*shadows(1, 2), *shadows(3, of=NOTES)], versions, NOON)
    assert sorted(begin(opened, pace)) == [[1], [2], [3]]
    opened.take_in([*shadows(4), *shadows(5, of=NOTES)], versions, NOON)
    assert begin(opened, pace) == [[5]]


def test_where_there_is_one_place_what_measures_may_have_it() -> None:
    pace = Pace(most=1)
    opened = turns(pace)
    take_in(opened, *shadows(1))
    assert begin(opened, pace) == [[1]]


def test_what_only_measures_is_nothing_that_a_drain_is_supplied_with() -> None:
    pace = quick()
    opened = turns(pace)
    take_in(opened, *shadows(*range(100, 108)), *(claimed(number) for number in range(16)))
    begin(opened, pace)
    assert pace.places(NOON) == 0
    assert not opened.is_supplied(NOON)
    assert opened.wanted({"notes": NOTES}, NOON) == {"notes": 8}


def test_where_what_measures_waits_one_more_is_looked_at_until_something_is_owed() -> None:
    pace = Pace(most=4)
    opened = turns(pace)
    take_in(opened, *shadows(*range(10)))
    assert begin(opened, pace) == [[0], [1]]
    assert [each.claim.work_id for each in opened.give_up_measuring()] == [6, 7, 8, 9]
    assert opened.wanted({"letters": LETTERS, "bills": BILLS}, NOON) == {"letters": 1, "bills": 16}
    take_in(opened, *shadows(10))
    assert opened.next_moment(NOON) is None
    assert opened.wanted({"letters": LETTERS}, NOON) == {"letters": 1}
    take_in(opened, claimed(11))
    assert opened.next_moment(NOON) == later(seconds=0.05)
    assert begin(opened, pace) == [[11]]
    assert opened.wanted({"letters": LETTERS}, NOON) == {"letters": 1}  # a place is free
    assert opened.next_moment(later(seconds=0.05)) is None


def test_packs_are_as_large_as_evidence_allows() -> None:
    sizes = PackSizes({PackPlace.of(BILLS, Lane.REALTIME): PackDecision(2, 4, NOON)})
    opened = Turns(Pace(most=4), Health(jitter=lambda: 1.0), sizes=sizes)
    assert opened.wanted({"bills": BILLS}, NOON) == {"bills": 8}
    take_in(opened, *(claimed(number, BILLS) for number in range(4)))
    assert asked(opened) == [[0, 1], [2, 3]]
