"""Transactions of asynchronous callers, the clock of each transaction, and queries that need no SQLAlchemy."""

from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Engine, func, select
from sqlalchemy.engine import URL, make_url

from lanes.store.asking import SIMPLE, ask_by_driver, place_of, plain_url, through
from lanes.store.database import Database, clock
from tests.passing_time import PassingTime

WORDS = st.text("abcxyz019_", min_size=1, max_size=8)
SECRETS = st.text("abcXYZ019_.~-@%", min_size=1, max_size=12)
QUESTION = """
select cast(:who as text) as who, '5 %' as share, cast(:n as int) + 1 as n, 7::bigint as seven,
       cast(:words as text[]) as words, 0.10 as usd,
       :now - cast(:span as interval) as at, '{"large": 123456789012345678901234567890}'::jsonb as said
"""


async def test_a_transaction_provides_the_database_time_read_inside_the_transaction(
    database_url: str,
) -> None:
    async with Database(database_url) as db:
        before = await db.now()
        async with db.transaction() as run:
            began = await run(
                lambda connection: connection.execute(
                    select(func.transaction_timestamp())
                ).scalar_one()
            )
            assert before < began <= run.now <= await run(clock)
            assert run.now.utcoffset() is not None
        async with db.transaction() as after:
            assert run.now < after.now < run.now + timedelta(minutes=1)


async def test_a_database_and_its_transactions_follow_a_shifted_clock(
    db: Database, passing_time: PassingTime
) -> None:
    before = await db.now()
    passing_time.passes(hours=25)
    async with db.transaction() as run:
        assert timedelta(hours=25) < run.now - before < timedelta(hours=25, minutes=1)
    assert await db.now() > run.now


def test_a_query_by_driver_and_a_query_through_sqlalchemy_return_the_same_row(
    pool: Engine, database_url: str
) -> None:
    given = {"who": "a % of :n", "n": 41, "words": ["a", "b"], "span": timedelta(hours=1)}
    with ask_by_driver(database_url) as ask:
        (now,) = ask("select now() as now")
        (alone,) = ask(QUESTION, now=now.now, **given)
    with pool.begin() as connection:
        (other,) = through(connection)(QUESTION, now=now.now, **given)
    assert alone._asdict() == other._asdict()
    assert (alone.who, alone.share, alone.n, alone.usd) == ("a % of :n", "5 %", 42, Decimal("0.10"))
    assert alone.said == {"large": 123456789012345678901234567890}


def test_an_unreachable_database_raises_the_error_of_the_driver() -> None:
    with (
        pytest.raises(psycopg.OperationalError),
        ask_by_driver("postgresql+psycopg://u:p@127.0.0.1:1/d"),
    ):
        pass


@given(WORDS, SECRETS, WORDS, st.integers(1, 65_535), WORDS)
def test_the_driver_and_sqlalchemy_read_an_address_alike(
    user: str, password: str, host: str, port: int, database: str
) -> None:
    url = URL.create("postgresql+psycopg", user, password, host, port, database).render_as_string(
        hide_password=False
    )
    assume(place_of(url) is not None)
    assert conninfo_to_dict(plain_url(url)) == {
        "user": user,
        "password": password,
        "host": host,
        "port": str(port),
        "dbname": database,
    }
    assert place_of(url) == f"{host}:{port}/{database}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h/d?sslmode=require",
        "postgresql:///d",
        "postgresql://h",
        "mysql://h/d",
        "postgresql://[::1]:5/d",
    ],
)
def test_an_address_that_is_not_simple_is_parsed_by_sqlalchemy(url: str) -> None:
    assert SIMPLE.fullmatch(url) is None
    assert place_of(url) is None
    assert plain_url(url) == make_url(url).set(drivername="postgresql").render_as_string(
        hide_password=False
    )
