"""What recorded reads say of a workload, and that unknown ones say nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.advice.evidence import ConsumerUse, Leaning
from lanes.advice.recommendation import advise
from lanes.report import advice as report
from tests.unit.advice.test_advice import evidence, leanings, shown

READ = ("A reader waits", "Results are read asynchronously", "Minutes to hours are fine")
R, B, U = Leaning.REALTIME, Leaning.BATCH, Leaning.UNKNOWN


def test_unknown_reads_are_no_evidence_that_no_reader_waits() -> None:
    desk = ConsumerUse(
        "desk", 1_000, realtime=1_000, reads=20, at_once=0, median_s=9_000, later=20, unknown=980
    )
    advice = advise(evidence(desk))
    assert advice.pattern is None
    assert advice.needs is not None
    assert (advice.needs.low, advice.needs.high) == (0, 0.98)
    assert advice.movable == []
    spoken = {each.name: (each.evidence, each.leaning) for each in advice.criteria}
    of_reads = (
        "; the reads of 980 of 1,000 answers are unknown: results taken by lanes.read_result, client.wait or "
        "lanes results --reader are recorded as read"
    )
    assert spoken["A reader waits"] == (
        f"0 % were read within 60 s (of 20 answers with a recorded read){of_reads}",
        Leaning.UNKNOWN,
    )
    assert spoken["Results are read asynchronously"] == (
        "0 of 1 consumer with enough reads take fewer than 20 % of their results at once; "
        f"0 % of 1,000 answers are theirs{of_reads}",
        Leaning.UNKNOWN,
    )
    for page in (" ".join(shown(advice).split()), report.in_page(advice)):
        assert "the reads of 980 of 1,000 answers are unknown" in page


@pytest.mark.parametrize(
    ("at_once", "between", "later", "unknown", "spoken", "is_movable"),
    [
        (100, 0, 0, 0, (R, R, R), False),
        (0, 0, 100, 0, (B, B, B), True),
        (0, 100, 0, 0, (B, B, R), True),
        (10, 0, 90, 9, (B, B, B), True),
        (10, 0, 90, 15, (B, U, B), False),  # a fifth may have been read at once
        (0, 0, 100, 99, (B, U, B), False),
        (0, 0, 100, 101, (U, U, U), False),  # most reads are unknown
        (100, 0, 0, 99, (R, R, R), False),
        (100, 0, 0, 101, (U, R, U), False),  # a third is surely more than a fifth
        (19, 0, 0, 0, (U, U, U), False),  # too few reads
        (0, 0, 19, 0, (U, U, U), False),
        (0, 0, 0, 1_000, (U, U, U), False),
        (0, 0, 0, 0, (U, U, U), False),
    ],
)
def test_a_criterion_of_reads_speaks_only_if_it_says_the_same_whatever_the_unknown_ones_were(
    at_once: int,
    between: int,
    later: int,
    unknown: int,
    spoken: tuple[Leaning, ...],
    is_movable: bool,
) -> None:
    reads = at_once + between + later
    desk = ConsumerUse("desk", 304_000, 0, 0, 304_000, reads, at_once, 1.0, later, unknown)
    advice = advise(evidence(desk, with_due=0))
    found = {each.name: each for each in advice.criteria}
    assert tuple(found[name].leaning for name in READ) == spoken
    assert bool(advice.movable) is is_movable
    for name in READ:
        assert (
            f"the reads of {unknown:,} of {reads + unknown:,} answers are unknown"
            in found[name].evidence
        )
        is_told_how = "lanes.read_result" in found[name].evidence
        assert is_told_how == (found[name].leaning is Leaning.UNKNOWN)


def test_the_reads_of_a_consumer_with_too_few_of_them_speak_for_nothing() -> None:
    habit = ConsumerUse("nightly", 500, realtime=500, reads=100, median_s=9_000, later=100)
    rare = [ConsumerUse(f"rare {n}", 500, realtime=500, reads=19, at_once=19) for n in range(6)]
    advice = advise(evidence(habit, *rare, with_due=0))
    assert {leanings(advice)[name] for name in READ} == {Leaning.UNKNOWN}
    assert [each.consumer for each in advice.movable] == ["nightly"]


def test_due_times_say_whether_hours_are_fine_where_reads_do_not() -> None:
    desk = ConsumerUse("desk", 1_000, realtime=1_000, unknown=1_000)
    advice = advise(evidence(desk, with_due=100, due_before_batch=90))
    assert leanings(advice)["Minutes to hours are fine"] is Leaning.REALTIME


@given(st.integers(20, 10_000), st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_unknown_reads_never_make_the_need_for_real_time_more_certain(
    reads: int, some: int, more: int
) -> None:
    few, many = (
        advise(
            evidence(ConsumerUse("desk", 50_000, reads=reads, at_once=reads // 2, unknown=unknown))
        ).needs
        for unknown in (some, some + more)
    )
    assert few is not None
    assert many is not None
    assert many.low <= few.low <= 0.5 * (1 + 1e-9)
    assert few.high <= many.high <= 1
