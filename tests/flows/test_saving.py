"""The road by which tasks save: neighbours are committed first, locked ones come after, a lost connection is outlasted."""

import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from lanes.claims import Claimed
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.settling import outcomes
from tasks import saving
from tests.conftest import NOON
from tests.examples import publish
from tests.store.tries import claimed_item, row, rows, said, tried


@pytest.fixture
def claims(pool: Engine) -> tuple[Claimed, Claimed]:
    """The claims of "held" and of its neighbour "free"."""
    with pool.begin() as setup:
        publish(setup, now=NOON)
        return claimed_item(setup, "held"), claimed_item(setup, "free")


async def no_pause(seconds: float) -> None:
    assert seconds > 0


async def test_neighbours_are_committed_before_the_first_wait_and_the_held_one_is_saved_once(
    db: Database, pool: Engine, claims: tuple[Claimed, Claimed], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, free = claims
    save, waits = outcomes.save, []

    def watched(connection: Connection, attempts: object, **more: object) -> outcomes.Saved:
        if more.get("wait") is not None:
            with pool.begin() as reader:
                waits.append(row(reader, "item_status", key="free").state)
            caller.rollback()  # who held it goes while we wait
        return save(connection, attempts, **more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(outcomes, "save", watched)
    with pool.connect() as caller:
        items.cancel(caller, "letters", "held")
        done = await saving.save(db, [tried(held), tried(free)], now=NOON)
    assert waits == ["settled"]
    assert (done.answered, done.passed_over) == (2, [])
    with pool.begin() as reader:
        assert [each.key for each in rows(reader, "attempt_log", "key")] == ["free", "held"]


async def test_what_stays_locked_is_returned_and_can_be_saved_later(
    db: Database, pool: Engine, claims: tuple[Claimed, Claimed], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, free = claims
    monkeypatch.setattr(saving, "WAIT", saving.WAIT / 1000)
    with pool.connect() as caller:
        items.cancel(caller, "letters", "held")
        done = await saving.save(db, [tried(held), tried(free)], now=NOON)
        assert (done.answered, [each.claim for each in done.passed_over]) == (1, [held.claim])
        caller.rollback()
    assert (await saving.save(db, done.passed_over, now=NOON)).answered == 1


async def test_a_connection_lost_in_a_save_is_outlasted_and_everything_is_saved_once(
    db: Database, pool: Engine, claims: tuple[Claimed, Claimed], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, free = claims
    save, cut = outcomes.save, [True, True]

    def severed(connection: Connection, attempts: object, **more: object) -> outcomes.Saved:
        saved = save(connection, attempts, **more)  # pyright: ignore[reportArgumentType]
        if cut:
            cut.pop()
            ours = connection.execute(text("select pg_backend_pid()")).scalar_one()
            with pool.begin() as killer:
                killer.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": ours})
        return saved

    monkeypatch.setattr(outcomes, "save", severed)
    done = await saving.save(db, [tried(held, response=said("m1")), tried(free)], now=NOON, sleep=no_pause)
    assert (done.answered, cut) == (2, [])
    with pool.begin() as reader:
        assert len(rows(reader, "attempt_log")) == len(rows(reader, "spend")) == len(rows(reader, "current_results")) == 2


async def test_a_database_that_stays_away_is_given_up_after_a_bounded_number_of_tries(claims: object) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    with disable_run_logger():
        async with Database("postgresql+psycopg://nobody@127.0.0.1:1/none") as away:
            with pytest.raises(DBAPIError):
                await saving.outlasting(away.now, sleep=pause)
    assert len(pauses) == saving.TRIES - 1
    assert all(0.5 <= each / min(saving.FIRST_PAUSE_S * 2**no, saving.LONGEST_PAUSE_S) <= 1
               for no, each in enumerate(pauses))  # fmt: skip


async def test_what_would_fail_again_is_not_tried_again(db: Database) -> None:
    def wrong(connection: Connection) -> None:
        connection.execute(text("select 1 / 0"))

    with pytest.raises(DBAPIError, match=r"DivisionByZero.*22012"):
        await saving.outlasting(lambda: db.run(wrong), sleep=no_pause)


async def test_claims_are_given_back_once_nobody_holds_them(
    db: Database, pool: Engine, claims: tuple[Claimed, Claimed]
) -> None:
    held, free = claims
    with pool.connect() as caller:
        items.cancel(caller, "letters", "held")

        async def caller_ends(seconds: float) -> None:
            caller.rollback()

        left = await saving.give_back(db, [held.claim, free.claim], ready_at=NOON, sleep=caller_ends)
    assert left == []
    with pool.begin() as reader:
        assert {each.state for each in rows(reader, "work")} == {"ready"}
