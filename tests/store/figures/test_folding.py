"""Folding: folded figures equal a recount of the facts, for any order of events and any number of folds."""

from datetime import datetime, timedelta
from secrets import token_hex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from lanes.doors.item import Amendment
from lanes.packing import BufferStay
from lanes.store.batch import collection
from lanes.store.doors import items
from lanes.store.figures import folding
from lanes.store.settling import decisions
from lanes.store.workload import workloads
from lanes.words import FlushReason, Mode, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.figures.recounting import Recount, peaks, stand
from tests.store.tries import A, B, claim, rows, save, submit, tried

OUTCOMES = st.sampled_from([Outcome.VALID] * 4 + [Outcome.INVALID, Outcome.ERRORED, Outcome.POISON])
STEPS = st.one_of(
    st.tuples(
        st.just("admit"),
        st.sampled_from([None, "desk", "digest"]),
        st.booleans(),
        st.sampled_from([None, 3, 9_000, -5]),
    ),
    st.tuples(st.just("route")),
    st.tuples(st.just("answer"), OUTCOMES, st.booleans()),
    st.tuples(st.just("batch"), OUTCOMES, st.booleans()),
    st.tuples(st.just("home"), st.booleans()),
    st.tuples(st.just("publish")),
    st.tuples(st.just("read"), st.integers(0, 5), st.integers(-90, 90)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("amend"), st.integers(0, 5)),
    st.tuples(st.just("label"), st.integers(0, 5), st.sampled_from([A, B, {"note": "n", **A}])),
    st.tuples(st.just("unlabel"), st.integers(0, 5)),
    st.tuples(st.just("empty"), st.integers(0, 5)),
    st.tuples(st.just("retry")),
    st.tuples(st.just("fold"), st.integers(1, 9)),
)


class Life:
    """A workload that goes through a sequence of timed steps."""

    def __init__(self, connection: Connection, mode: Mode) -> None:
        self._connection, self._now, self._items, self._batches, self._versions = (
            connection,
            NOON,
            0,
            0,
            0,
        )
        self._mode = mode
        self._publish()

    def happens(self, step: tuple[object, ...], after: timedelta) -> None:
        self._now += after
        what, *how = step
        getattr(self, f"_{what}")(*how)

    def _admit(self, consumer: str | None, urgent: bool, due_s: int | None) -> None:
        due_at = None if due_s is None else self._now + timedelta(seconds=due_s)
        admit(
            self._connection,
            f"k{self._items}",
            now=self._now,
            consumer=consumer,
            urgent=urgent,
            due_at=due_at,
        )
        self._items += 1

    def _route(self) -> None:
        route(self._connection, now=self._now)

    def _answer(self, outcome: Outcome, differs: bool) -> None:
        tries = [
            tried(each, outcome, B if differs and outcome is Outcome.VALID else None, at=self._now)
            for each in claim(self._connection, now=self._now)
        ]
        where = BufferStay(FlushReason.OVER, 2_000) if differs else None
        save(self._connection, *(each._replace(gathered=where) for each in tries), now=self._now)

    def _batch(self, outcome: Outcome, differs: bool) -> None:
        self._batches += 1
        version = workloads.read_versions(self._connection)["letters"]
        if not work_waits(self._connection, version, self._now):
            return
        batch_id, works = submit(
            self._connection, version, now=self._now, account=f"a{self._batches}"
        )
        self._now += timedelta(seconds=100)
        answers = [
            tried(
                each,
                outcome,
                (B if differs else A) if outcome is Outcome.VALID else None,
                at=self._now,
            )
            for each in works
        ]
        save(self._connection, *answers, now=self._now, batch_id=batch_id)

    def _home(self, collected: bool) -> None:
        at_the_provider = "select id from lanes.batch where state in ('submitted', 'ended')"
        for batch_id in self._connection.execute(text(at_the_provider)).scalars().all():
            collection.mark_ended(self._connection, batch_id, at=self._now, now=self._now)
            if collected:
                collection.mark_collected(self._connection, batch_id, now=self._now)

    def _publish(self) -> None:
        self._versions += 1
        publish(
            self._connection,
            now=self._now,
            mode=self._mode,
            max_failures=2,
            split_percent=80,
            urgent_when="payload.missing > 1",
            batch_when="payload.missing > 2" if self._versions % 2 else "",
            instructions=f"Sort it, for the {self._versions}th time.",
        )

    def _read(self, item: int, seconds: int) -> None:
        at = self._now + timedelta(seconds=seconds)
        taken = text("select * from lanes.read_result('letters', :key, 'app', :at)")
        self._connection.execute(taken, {"key": f"k{item}", "at": at})

    def _cancel(self, item: int) -> None:
        canceled = text("select lanes.cancel('letters', :key, :at)")
        self._connection.execute(canceled, {"key": f"k{item}", "at": self._now})

    def _amend(self, item: int) -> None:
        said = Amendment("letters", f"k{item}", {"text": f"of {self._now}"}, place=f"{self._now}")
        items.amend(self._connection, said, door="client", now=self._now)

    def _label(self, item: int, expected: dict[str, str]) -> None:
        items.label(self._connection, "letters", {f"k{item}": expected}, source="team")

    def _unlabel(self, item: int) -> None:
        gone = (
            "delete from lanes.label where item_id = (select id from lanes.item where key = :key)"
        )
        self._connection.execute(text(gone), {"key": f"k{item}"})

    def _empty(self, item: int) -> None:
        emptied = "update lanes.result set output = null where item_id = (select id from lanes.item where key = :key)"
        self._connection.execute(text(emptied), {"key": f"k{item}"})

    def _retry(self) -> None:
        decisions.retry(self._connection, "letters", None, now=self._now)

    def _fold(self, most: int) -> None:
        folding.fold(self._connection, most=most)


def work_waits(connection: Connection, version: Version, now: datetime) -> bool:
    waits = """
    select exists (select from lanes.work
                    where lane = 'batch' and state = 'ready' and ready_at <= :now and version_id = :version)
    """
    return connection.execute(text(waits), {"now": now, "version": version.id}).scalar_one()


AMENDED_TWICE = [
    (("admit", "desk", False, 3), 0),
    (("admit", None, True, None), 0),
    (("route",), 1),
    (("answer", Outcome.VALID, False), 1),
    (("batch", Outcome.VALID, True), 600),
    (("home", True), 9),
    (("fold", 9), 0),
    (("publish",), 1),
    (("amend", 0), 1),
    (("batch", Outcome.VALID, False), 600),
    (("home", False), 9),
    (("read", 0, 40), 0),
    (("amend", 0), 1),
    (("label", 0, B), 1),
    (("batch", Outcome.VALID, True), 40_000),
    (("cancel", 1), 1),
    (("label", 0, A), 1),
    (("label", 1, {"note": "n", **A}), 1),
    (("fold", 9), 0),
    (("empty", 1), 1),
    (("label", 1, B), 1),
]
READ_LATE_AND_THEN_EARLY = [
    (("admit", "desk", False, None), 0),
    (("admit", "desk", False, 9_000), 0),
    (("admit", None, False, None), 0),
    (("route",), 1),
    (("answer", Outcome.VALID, False), 1),
    (("read", 0, 90), 0),
    (("fold", 2), 0),
    (("read", 0, 30), 0),
    (("read", 1, 59), 0),
    (("read", 2, -90), 0),
    (("read", 2, 80), 0),
    (("fold", 9), 0),
    (("cancel", 1), 1),
    (("read", 1, 1), 1),
]


RETRIED_WITH_ANOTHER_VERSION = [
    (("admit", None, False, None), 0),
    (("route",), 1),
    (("answer", Outcome.POISON, False), 1),
    (("batch", Outcome.POISON, False), 1),
    (("fold", 9), 0),
    (("publish",), 1),
    (("retry",), 1),
    (("answer", Outcome.VALID, False), 600),
    (("batch", Outcome.VALID, False), 1),
]


@pytest.mark.slow
@example(mode=Mode.PLAIN, steps=RETRIED_WITH_ANOTHER_VERSION)
@example(mode=Mode.LAMBDA, steps=AMENDED_TWICE)
@example(mode=Mode.LAMBDA, steps=READ_LATE_AND_THEN_EARLY)
@example(mode=Mode.PLAIN, steps=READ_LATE_AND_THEN_EARLY)
@given(
    mode=st.sampled_from(Mode),
    steps=st.lists(st.tuples(STEPS, st.sampled_from([0, 1, 59, 600, 40_000])), max_size=25),
)
def test_folded_figures_and_a_rebuild_equal_a_recount_of_the_facts(
    connection: Connection, mode: Mode, steps: list
) -> None:
    with connection.begin_nested() as savepoint:
        life = Life(connection, mode)
        for step, after_s in steps:
            life.happens(step, timedelta(seconds=after_s))
        folding.fold(connection)
        recounted = Recount(connection)
        figures, hist = stand(connection)
        assert figures == recounted.figures
        assert hist == recounted.hist
        assert peaks(connection) == recounted.peaks()
        folding.rebuild_here(connection, until=later(days=30))
        assert stand(connection) == (figures, hist)
        assert peaks(connection) == recounted.peaks()
        savepoint.rollback()


def added(connection: Connection, word: str, n: int = 1) -> None:
    """Add a delta to the figures, as a transaction does."""
    connection.execute(
        text(
            "insert into lanes.figure_delta (at, workload, kind, word, n) values (:now, 'letters', 'attempt', :word, :n)"
        ),
        {"now": NOON, "word": word, "n": n},
    )


def figures_of(connection: Connection) -> dict[str, int]:
    """Return the attempts that readers count, by the first five letters of the word."""
    rows = connection.execute(
        text(
            "select word, sum(n)::int as n from lanes.figures_since('{attempt}', :at) f group by 1"
        ),
        {"at": NOON},
    )
    return {row.word[:5]: row.n for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("bad", [[0], [3], [6], [2, 3, 5]])
def test_a_row_that_cannot_be_folded_is_set_aside_and_does_not_block_others(
    connection: Connection, caplog: pytest.LogCaptureFixture, bad: list[int]
) -> None:
    for no in range(7):
        added(connection, f"bad {no}" + token_hex(4_000) if no in bad else f"good {no}"[:5], no + 1)
    before = figures_of(connection)
    assert folding.fold(connection) == 7
    assert [each.set_aside for each in rows(connection, "figure_delta")] == [True] * len(bad)
    assert figures_of(connection) == before
    assert caplog.text.count("cannot be folded and is set aside: ProgramLimitExceeded") == len(bad)
    added(connection, "later")
    assert folding.fold(connection) == 1
    assert folding.fold(connection) == 0
    assert figures_of(connection) == {**before, "later": 1}


BOTH_LANES_AGAIN = """
insert into lanes.result (item_id, work_id, version_id, lane, standing, generation, revision, output, created_at)
select item_id, work_id, version_id, lane, standing, 0, revision + 1, output, created_at + interval '1 hour' from lanes.result
"""


@pytest.mark.slow
def test_an_item_that_both_lanes_answered_twice_is_compared_once(connection: Connection) -> None:
    life = Life(connection, Mode.LAMBDA)
    for step in (
        ("admit", None, True, None),
        ("route",),
        ("answer", Outcome.VALID, False),
        ("batch", Outcome.VALID, True),
    ):
        life.happens(step, timedelta(seconds=1))
    connection.execute(text(BOTH_LANES_AGAIN))
    folding.fold(connection)
    day = rows(connection, "figure", "kind", grain="day")
    compared = [
        (each.kind, each.n, each.items) for each in day if each.kind in ("agreement", "compared")
    ]
    assert compared == [("agreement", 1, 0), ("compared", 1, 0)]
    assert stand(connection) == (Recount(connection).figures, Recount(connection).hist)
