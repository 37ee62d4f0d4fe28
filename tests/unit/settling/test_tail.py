"""Incremental reads of a table by row number: no row that is committed late is missed, and no row is read twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.store.settling.results import Gap, Tail

NOBODY = frozenset[str]()
ADA, BOB = frozenset({"ada"}), frozenset({"bob"})


def test_a_skipped_number_is_awaited_until_no_open_transaction_can_hold_it() -> None:
    tail = Tail(10)
    tail.read(ADA, [], [12, 13])
    assert (tail.high, tail.gaps) == (13, [Gap(11, 11)])
    tail.read(ADA | BOB, [], [14])
    # A writer of that moment may have taken the number.
    assert tail.gaps == [Gap(11, 11, ADA | BOB)]
    tail.read(BOB, [], [])
    assert tail.gaps == [Gap(11, 11, BOB)]
    tail.read(NOBODY, [11], [])
    assert (tail.high, tail.gaps) == (14, [])


def test_an_unfilled_gap_is_dropped_once_its_writers_have_ended() -> None:
    tail = Tail(10)
    tail.read(ADA, [], [15])
    tail.read(NOBODY, [], [])
    assert (tail.high, tail.gaps) == (15, [])


def test_writers_that_begin_later_do_not_keep_a_gap_open() -> None:
    tail = Tail(10)
    tail.read(ADA, [], [12])
    tail.read(ADA, [], [])
    tail.read(BOB, [], [])
    assert tail.gaps == []


def test_a_late_row_leaves_the_rest_of_its_gap_open() -> None:
    tail = Tail(0)
    tail.read(ADA, [], [10])
    tail.read(ADA, [3, 4, 9], [])
    assert tail.gaps == [Gap(1, 2, ADA), Gap(5, 8, ADA)]


def test_a_partly_read_gap_stays_open_even_after_its_writers_have_ended() -> None:
    tail = Tail(0)
    tail.read(ADA, [], [10])
    tail.read(ADA, [], [])
    tail.read(NOBODY, [1, 2], [], whole=False)
    assert tail.gaps == [Gap(3, 9, ADA)]
    tail.read(NOBODY, [3], [])
    assert tail.gaps == []


def test_a_gap_at_the_start_counts_only_while_the_writers_of_that_moment_are_open() -> None:
    assert Tail(10, [(3, 4)], ADA).gaps == [Gap(3, 4, ADA)]
    assert Tail(10, [(3, 4)], NOBODY).gaps == []


class NumberedCommits:
    """Transactions of a few people that take numbers and commit or roll back at any time."""

    def __init__(self) -> None:
        self.numbers, self.begun = 0, 0
        self.open: dict[
            int, tuple[str, list[int]]
        ] = {}  # by person: the transaction's name and the numbers it took
        self.committed: set[int] = set()

    def step(self, person: int, what: str) -> None:
        if what == "write":
            if person not in self.open:
                self.begun += 1
                self.open[person] = (f"t{self.begun}", [])
            self.numbers += 1
            self.open[person][1].append(self.numbers)
        elif person in self.open:
            _, taken = self.open.pop(person)
            self.committed |= set(taken) if what == "commit" else set()

    @property
    def writing(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.open.values())


Step = tuple[int, str]
STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["write", "write", "commit", "roll back"])),
    max_size=6,
)
LIMIT = 2


@pytest.mark.slow
@given(before=STEPS, readings=st.lists(st.tuples(STEPS, STEPS, STEPS), max_size=12))
def test_every_committed_row_is_read_exactly_once(
    before: list[Step], readings: list[tuple[list[Step], ...]]
) -> None:
    world, told = NumberedCommits(), list[int]()

    def go(steps: list[Step]) -> None:
        for person, what in steps:
            world.step(person, what)

    def reading(*between: list[Step]) -> None:
        """Perform the three steps of a reading, with the steps of other people before each."""
        go(between[0])
        writing = world.writing
        go(between[1])
        in_gaps = sorted(
            n for n in world.committed for gap in tail.gaps if gap.first <= n <= gap.last
        )
        late = in_gaps[:LIMIT]
        go(between[2])
        fresh = sorted(n for n in world.committed if n > tail.high)[:LIMIT]
        tail.read(writing, late, fresh, whole=len(late) < LIMIT)
        told.extend(late + fresh)

    go(before)
    high = max(world.committed, default=0)
    missing = [(n, n) for n in range(1, high + 1) if n not in world.committed]
    listed = set(world.committed)
    tail = Tail(high, missing, world.writing)
    for steps in readings:
        reading(*steps)
    for person in sorted(world.open):
        world.step(person, "commit")
    for _ in range(len(world.committed) + 3):
        reading([], [], [])
    assert sorted(told) == sorted(world.committed - listed)
    assert tail.gaps == []
