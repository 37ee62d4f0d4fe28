"""A handle that received a connection works within the caller's transaction."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from lanes.client import AsyncLanes, Lanes
from lanes.errors import Refused, SetupError, StillLocked, TransactionUnfit
from tests.conftest import NOON
from tests.examples import admit
from tests.store.client.ends import answer
from tests.store.tries import A, rows

TABLE = text("create table ticket (id text primary key)")
INSERT = text("insert into ticket values ('t-1')")


@pytest.fixture(autouse=True)
def table(pool: Engine) -> None:
    with pool.begin() as connection:
        connection.execute(TABLE)
        admit(connection, "there", now=NOON, urgent=True)


@pytest.fixture
def caller(pool: Engine) -> Iterator[Connection]:
    """Yield the connection of a user's program."""
    with pool.connect() as opened:
        yield opened


@pytest.fixture
async def acaller(database_url: str) -> AsyncIterator[AsyncConnection]:
    engine: AsyncEngine = create_async_engine(database_url)
    async with engine.connect() as opened:
        yield opened
    await engine.dispose()


def seen(pool: Engine, relation: str = "item") -> list[Any]:
    """Return the rows that other transactions see."""
    with pool.begin() as other:
        return rows(other, relation)


def tickets(pool: Engine) -> int:
    with pool.begin() as other:
        return other.execute(text("select count(*) from ticket")).scalar_one()


def test_an_item_exists_once_the_caller_commits_and_not_before(
    pool: Engine, caller: Connection
) -> None:
    caller.execute(INSERT)
    assert Lanes(caller).submit("letters", {"text": "x"}, key="k").outcome == "accepted"
    assert [each.key for each in seen(pool)] == ["there"]
    caller.commit()
    assert [each.key for each in seen(pool)] == ["there", "k"]
    assert tickets(pool) == 1


def test_a_rollback_of_the_caller_removes_the_items(pool: Engine, caller: Connection) -> None:
    caller.execute(INSERT)
    inputs = ({"key": f"k{n}", "payload": {}} for n in range(1_001))
    assert len(Lanes(caller).submit_many("letters", inputs)) == 1_001
    caller.rollback()
    assert [each.key for each in seen(pool)] == ["there"]
    assert tickets(pool) == 0


@pytest.mark.parametrize(
    ("verb", "relation"),
    [
        (lambda lanes: lanes.amend("letters", "there", {"text": "new"}), "revision"),
        (lambda lanes: lanes.cancel("letters", "there"), "item where canceled_at is not null"),
        (lambda lanes: lanes.label("letters", "there", A), "label"),
        (lambda lanes: lanes.read_result("letters", "there", reader="desk"), "read"),
    ],
)
def test_a_change_to_an_item_takes_effect_when_the_caller_commits(
    pool: Engine, caller: Connection, verb: Callable[[Lanes], object], relation: str
) -> None:
    def there() -> int:
        with pool.begin() as other:
            return other.execute(text(f"select count(*) from lanes.{relation}")).scalar_one()

    verb(Lanes(caller))
    caller.rollback()
    assert there() == 0
    verb(Lanes(caller))
    assert there() == 0
    caller.commit()
    assert there() > 0


def test_a_transaction_sees_the_items_that_it_has_sent(caller: Connection) -> None:
    lanes = Lanes(caller)
    lanes.submit("letters", {"text": "x"}, key="k")
    assert [each.key for each in lanes.results("letters")] == ["there", "k"]


def test_a_refusal_leaves_the_callers_transaction_as_it_was(
    pool: Engine, caller: Connection
) -> None:
    caller.execute(INSERT)
    lanes = Lanes(caller, patience_s=0.001)
    with pool.connect() as other:
        other.execute(text("select from lanes.item for update")).all()
        with pytest.raises(StillLocked):
            lanes.cancel("letters", "there")
        with pytest.raises(StillLocked):
            lanes.read_result("letters", "there", reader="desk")
    with pytest.raises(Refused, match="payload"):
        lanes.submit("letters", 1, key="bad")  # pyright: ignore[reportArgumentType]
    lanes.submit("letters", {}, key="good")
    caller.commit()
    assert tickets(pool) == 1
    assert [each.key for each in seen(pool)] == ["there", "good"]


def test_waiting_within_a_transaction_is_refused(pool: Engine, caller: Connection) -> None:
    answer(pool)
    with pytest.raises(TransactionUnfit, match="commit"):
        Lanes(caller).wait("letters", "there", reader="desk")
    assert seen(pool, "read") == []


def test_closing_the_handle_ends_neither_transaction_nor_connection(
    pool: Engine, caller: Connection
) -> None:
    with Lanes(caller) as lanes:
        lanes.submit("letters", {"text": "x"}, key="k")
    assert caller.in_transaction()
    caller.commit()
    assert len(seen(pool)) == 2


def test_an_autocommit_connection_is_refused_because_it_has_no_transaction(pool: Engine) -> None:
    alone = pool.connect().execution_options(isolation_level="AUTOCOMMIT")
    with alone as caller, pytest.raises(TransactionUnfit, match="AUTOCOMMIT"):
        Lanes(caller).submit("letters", {"text": "x"}, key="k")
    assert len(seen(pool)) == 1


def is_closed(caller: Connection) -> None:
    caller.close()


def has_failed(caller: Connection) -> None:
    with pytest.raises(Exception, match="ghost"):
        caller.execute(text("select * from ghost"))


def has_lost_its_session(caller: Connection) -> None:
    caller.execute(INSERT)
    with pytest.raises(Exception, match="terminat"):
        caller.execute(text("select pg_terminate_backend(pg_backend_pid())"))


@pytest.mark.parametrize("happened", [is_closed, has_failed, has_lost_its_session])
def test_a_transaction_that_has_ended_raises_transaction_unfit(
    caller: Connection, happened: Callable[[Connection], None]
) -> None:
    happened(caller)
    with pytest.raises(TransactionUnfit, match="begin"):
        Lanes(caller).submit("letters", {"text": "x"}, key="k")


def test_a_snapshot_that_is_too_old_raises_still_locked(pool: Engine) -> None:
    with pool.connect().execution_options(isolation_level="REPEATABLE READ") as caller:
        caller.execute(text("select 1"))
        with pool.begin() as other:
            admit(other, "k", now=NOON)
        with pytest.raises(StillLocked, match="READ COMMITTED"):
            Lanes(caller).submit("letters", {"text": "letter k"}, key="k")


def test_an_engine_works_at_any_isolation_level_and_its_pool_keeps_its_own(pool: Engine) -> None:
    for level in ("AUTOCOMMIT", "REPEATABLE READ"):
        with Lanes(pool.execution_options(isolation_level=level)) as lanes:
            assert lanes.submit("letters", {"text": level}, key=level).outcome == "accepted"
            with pytest.raises(Refused):
                lanes.submit("letters", {}, key="bad", lane="express")
    with pool.begin() as connection:
        assert (
            connection.execute(text("show transaction_isolation")).scalar_one() == "read committed"
        )
    assert len(seen(pool)) == 3


def test_waiting_on_an_engine_without_an_address_is_refused(pool: Engine) -> None:
    nameless = create_engine("postgresql+psycopg://", creator=pool.dialect.loaded_dbapi.connect)
    with pytest.raises(SetupError, match="address"):
        Lanes(nameless).wait("letters", "there", reader="desk")


@pytest.mark.parametrize(
    "where", ["mysql://host/name", "postgresql+asyncpg://host/name", "postgresql://host", "nothing"]
)
def test_an_invalid_postgres_address_is_refused(where: str) -> None:
    for handle in (Lanes, AsyncLanes):
        with pytest.raises(SetupError, match="given address"):
            handle(where)


def test_an_engine_of_another_driver_or_an_object_of_another_type_is_refused(pool: Engine) -> None:
    with pytest.raises(SetupError, match="psycopg"):
        Lanes(create_engine("sqlite://"))
    with pytest.raises(TypeError, match="AsyncEngine"):
        AsyncLanes(pool)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="int"):
        Lanes(5)  # pyright: ignore[reportArgumentType]


async def test_an_asynchronous_handle_joins_the_callers_transaction(
    pool: Engine, acaller: AsyncConnection
) -> None:
    await acaller.execute(INSERT)
    lanes = AsyncLanes(acaller)
    assert (await lanes.submit("letters", {"text": "x"}, key="k")).outcome == "accepted"
    assert await lanes.cancel("letters", "there")
    assert [each.key async for each in lanes.results("letters")] == ["there", "k"]
    assert [each.key for each in seen(pool)] == ["there"]
    await acaller.rollback()
    assert [each.canceled_at for each in seen(pool)] == [None]
    await lanes.submit("letters", {"text": "x"}, key="k")
    await lanes.close()
    await acaller.commit()
    assert [each.key for each in seen(pool)] == ["there", "k"]
    with pytest.raises(TransactionUnfit, match="commit"):
        await lanes.wait("letters", "there", reader="desk")


async def test_an_asynchronous_engine_remains_usable_after_its_handle_is_closed(
    pool: Engine, database_url: str
) -> None:
    engine = create_async_engine(database_url)
    async with AsyncLanes(engine) as lanes:
        await lanes.submit("letters", {"text": "x"}, key="k")
    async with engine.connect() as connection:
        await connection.run_sync(partial(rows, relation="item"))
    await engine.dispose()
    assert len(seen(pool)) == 2
