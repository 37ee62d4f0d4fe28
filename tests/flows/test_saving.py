"""How tasks save: neighbours are committed first, locked items afterwards, and saves survive a lost connection."""

from itertools import count
from secrets import token_hex
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.logging import disable_run_logger
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from lanes.packing import ClaimedWork
from lanes.settling.outcome import SaveResult
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.settling import outcomes
from lanes.words import Outcome
from tasks import saving
from tests.conftest import NOON
from tests.examples import publish
from tests.store.tries import claimed_item, row, rows, said, tried


@pytest.fixture
def claims(pool: Engine) -> tuple[ClaimedWork, ClaimedWork]:
    """Return the claims of "held" and of its neighbour "free"."""
    with pool.begin() as setup:
        publish(setup, now=NOON)
        return claimed_item(setup, "held"), claimed_item(setup, "free")


async def no_pause(seconds: float) -> None:
    assert seconds > 0


async def test_neighbours_are_committed_before_the_first_wait_and_the_locked_item_is_saved_once(
    db: Database,
    pool: Engine,
    claims: tuple[ClaimedWork, ClaimedWork],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, free = claims
    save, waits = outcomes.save, []

    def watched(connection: Connection, attempts: object, **more: object) -> SaveResult:
        if more.get("wait") is not None:
            with pool.begin() as reader:
                waits.append(row(reader, "item_status", key="free").state)
            caller.rollback()  # the transaction that holds the lock ends during the wait
        return save(connection, attempts, **more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(outcomes, "save", watched)
    with pool.connect() as caller:
        items.cancel(caller, "letters", "held")
        done = await saving.save(db, [tried(held), tried(free)], now=NOON)
    assert waits == ["settled"]
    assert (done.answered, done.passed_over) == (2, [])
    with pool.begin() as reader:
        assert [each.key for each in rows(reader, "attempt_log", "key")] == ["free", "held"]


async def test_attempts_that_stay_locked_are_returned_and_can_be_saved_later(
    db: Database, pool: Engine, claims: tuple[ClaimedWork, ClaimedWork]
) -> None:
    held, free = claims
    both = [tried(held), tried(free)]
    with pool.connect() as caller:
        items.cancel(caller, "letters", "held")
        done = await saving.save(db, both, now=NOON, patience=saving.PATIENCE / 1000)
        assert (done.answered, [each.claim for each in done.passed_over]) == (1, [held.claim])
        caller.rollback()
    assert (await saving.save(db, done.passed_over, now=NOON)).answered == 1


async def test_a_save_survives_a_lost_connection_and_saves_everything_once(
    db: Database,
    pool: Engine,
    claims: tuple[ClaimedWork, ClaimedWork],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, free = claims
    save, cut = outcomes.save, [True, True]

    def severed(connection: Connection, attempts: object, **more: object) -> SaveResult:
        saved = save(connection, attempts, **more)  # pyright: ignore[reportArgumentType]
        if cut:
            cut.pop()
            ours = connection.execute(text("select pg_backend_pid()")).scalar_one()
            with pool.begin() as killer:
                killer.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": ours})
        return saved

    monkeypatch.setattr(outcomes, "save", severed)
    done = await saving.save(
        db, [tried(held, response=said("m1")), tried(free)], now=NOON, sleep=no_pause
    )
    assert (done.answered, cut) == (2, [])
    with pool.begin() as reader:
        assert (
            len(rows(reader, "attempt_log"))
            == len(rows(reader, "spend"))
            == len(rows(reader, "current_results"))
            == 2
        )


async def test_an_unavailable_database_is_given_up_after_a_bounded_number_of_tries(
    claims: object,
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    with disable_run_logger():
        async with Database("postgresql+psycopg://nobody@127.0.0.1:1/none") as away:
            with pytest.raises(DBAPIError):
                await saving.retry_transient(away.now, sleep=pause)
    assert len(pauses) == saving.TRIES - 1
    assert all(
        0.5 <= each / saving.BACKOFF.seconds_after(no + 1) <= 1 for no, each in enumerate(pauses)
    )


async def test_an_error_that_would_repeat_is_not_retried(db: Database) -> None:
    def wrong(connection: Connection) -> None:
        connection.execute(text("select 1 / 0"))

    with pytest.raises(DBAPIError, match=r"DivisionByZero.*22012"):
        await saving.retry_transient(lambda: db.run(wrong), sleep=no_pause)


# -- rows that the database refuses

REFUSES = """
create function lanes.refuses() returns trigger language plpgsql as
  $$begin if {when} then raise exception 'it is refused'; end if; return new; end$$;
create trigger refuses before insert on lanes.{table} for each row execute function lanes.refuses();
"""
BAD = {"category": "bad"}


def refuse(connection: Connection, table: str, when: str) -> None:
    """Make the database refuse such rows from now on."""
    connection.execute(text(REFUSES.format(table=table, when=when)))


@pytest.mark.parametrize("bad", [0, 3, 6])
async def test_an_attempt_with_a_refused_answer_is_saved_without_it_and_harms_no_neighbour(
    db: Database, pool: Engine, bad: int
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        claims = [claimed_item(setup, f"k{no}") for no in range(7)]
        refuse(setup, "result", "new.output->>'category' = 'bad'")
    tries = [tried(each, output=BAD if no == bad else None) for no, each in enumerate(claims)]
    with disable_run_logger():
        done = await saving.save(db, tries, now=NOON)
    assert (done.outcomes, done.refused) == ({Outcome.VALID: 6, Outcome.INVALID: 1}, [])
    with pool.begin() as reader:
        log = {each.key: each for each in rows(reader, "attempt_log")}
        assert {key for key, each in log.items() if each.outcome == "invalid"} == {f"k{bad}"}
        assert "it cannot be stored" in log[f"k{bad}"].error
        assert len(rows(reader, "spend")) == 7


@pytest.mark.slow
@given(
    packs=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    tokens=st.integers(1, 9_999),
    bad=st.sets(st.integers(0, 19), max_size=3),
)
async def test_the_parts_of_a_bill_add_up_to_it_however_its_save_is_halved(
    db: Database, pool: Engine, packs: list[int], tokens: int, bad: set[int]
) -> None:
    with pool.begin() as setup:
        setup.execute(text("drop function if exists lanes.refuses cascade"))
        publish(setup, now=NOON)
        claims = [[claimed_item(setup, f"{uuid4()}") for _ in range(size)] for size in packs]
        refuse(setup, "result", "new.output->>'category' = 'bad'")
    answers, order = [said(f"m_{uuid4()}", tokens=tokens) for _ in packs], count()
    tries = [
        tried(each, output=BAD if next(order) in bad else None, response=answer)
        for pack, answer in zip(claims, answers, strict=True)
        for each in pack
    ]
    with disable_run_logger():
        await saving.save(db, tries, now=NOON)
    with pool.begin() as reader:
        parts = text(
            "select s.message_id, s.items, s.cost_usd, s.input_tokens, sum(a.cost_usd) as cost, sum(a.input_tokens) as used,"
            " count(*) as parts from lanes.spend s join lanes.attempt a on a.message_id = s.message_id group by 1, 2, 3, 4"
        )
        booked = {each.message_id: each for each in reader.execute(parts)}
    for pack, answer in zip(packs, answers, strict=True):
        of = booked[answer.message_id]
        assert (
            (of.cost, of.used, of.parts)
            == (of.cost_usd, of.input_tokens, of.items)
            == (of.cost_usd, tokens, pack)
        )


async def test_an_attempt_that_is_refused_even_without_its_answer_is_returned_and_harms_no_neighbour(
    db: Database, pool: Engine, claims: tuple[ClaimedWork, ClaimedWork]
) -> None:
    bad, free = claims
    with pool.begin() as setup:
        refuse(setup, "attempt", f"new.work_id = {bad.claim.work_id}")
    with disable_run_logger():
        done = await saving.save(db, [tried(bad), tried(free)], now=NOON)
    assert ([each.claim for each in done.refused], done.answered) == ([bad.claim], 1)


async def test_an_attempt_whose_message_id_fits_no_index_is_refused_and_harms_no_neighbour(
    db: Database, claims: tuple[ClaimedWork, ClaimedWork]
) -> None:
    bad, free = claims
    with disable_run_logger():
        done = await saving.save(
            db, [tried(bad, response=said(token_hex(4_000))), tried(free)], now=NOON, sleep=no_pause
        )
    assert ([each.claim for each in done.refused], done.answered) == ([bad.claim], 1)


async def test_claims_are_returned_once_no_transaction_holds_them(
    db: Database, pool: Engine, claims: tuple[ClaimedWork, ClaimedWork]
) -> None:
    held, free = claims
    with pool.connect() as caller:
        items.cancel(caller, "letters", "held")

        async def caller_ends(seconds: float) -> None:
            caller.rollback()

        left = await saving.give_back(
            db, [held.claim, free.claim], ready_at=NOON, sleep=caller_ends
        )
    assert left == []
    with pool.begin() as reader:
        assert {each.state for each in rows(reader, "work")} == {"ready"}
