"""Senders of the same keys in different orders, on real connections."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from lanes.client import AsyncLanes, Lanes
from lanes.doors.filedoor import Layout
from lanes.errors import Deadlocked, StillLocked
from lanes.store.doors.items import admit_file
from tests.conftest import NOON
from tests.examples import admit
from tests.store.tries import rows
from tests.waiting import until

WAITING = text("select count(*) from pg_locks where not granted")
QUICK = "?options=-c%20deadlock_timeout%3D20ms"  # the default is to check after 1 s
FORTH = ["a", "m", "z"]
BACK = ["z", "m", "a"]


def inputs(keys: list[str]) -> list[dict[str, Any]]:
    return [{"key": key, "payload": {"text": f"letter {key}"}} for key in keys]


@pytest.fixture
def quick(database_url: str) -> Iterator[Engine]:
    """Yield an engine whose connections detect a deadlock at once."""
    engine = create_engine(database_url + QUICK, isolation_level="READ COMMITTED")
    yield engine
    engine.dispose()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def waiting(pool: Engine, count: int) -> Callable[[], bool]:
    """Return a check that at least `count` sessions wait for a lock."""

    def told() -> bool:
        with pool.connect() as looking:
            return looking.execute(WAITING).scalar_one() >= count

    return told


@pytest.mark.parametrize("second", [BACK, ["z", "a"]])
@pytest.mark.parametrize("door", ["client", "asynchronous", "sql", "file"])
def test_lists_with_the_same_keys_in_opposite_orders_are_admitted(
    pool: Engine,
    quick: Engine,
    threads: ThreadPoolExecutor,
    tmp_path: Path,
    door: str,
    second: list[str],
) -> None:
    def send(keys: list[str]) -> list[str]:
        match door:
            case "client":
                return [each.outcome for each in Lanes(quick).submit_many("letters", inputs(keys))]
            case "asynchronous":
                return threads.submit(
                    run_async, quick.url.render_as_string(hide_password=False), keys
                ).result()
            case "sql":
                with quick.begin() as caller:
                    many = text(
                        "select outcome from lanes.submit_many('letters', cast(:rows as jsonb)) order by place"
                    )
                    return list(caller.execute(many, {"rows": json.dumps(inputs(keys))}).scalars())
            case _:
                path = tmp_path / f"{keys[0]}.jsonl"
                path.write_text(
                    "".join(
                        f'{{"key": "{key}", "payload": {{"text": "letter {key}"}}}}\n'
                        for key in keys
                    )
                )
                told = list(admit_file(quick, path, "letters", Layout(), now=NOON))
                return [
                    outcome
                    for each in told
                    for outcome, n in each.outcomes.items()
                    for _ in range(n)
                ]

    with pool.connect() as holder:
        admit(holder, "m", now=NOON)  # the first sender inserts "a" and then waits for "m"
        first = threads.submit(send, FORTH)
        until(waiting(pool, 1), what="the first sender's wait")
        other = threads.submit(send, second)
        until(lambda: waiting(pool, 2)() or other.done(), what="the second sender's wait")
        holder.commit()
        assert set(first.result(30)) | set(other.result(30)) <= {"accepted", "duplicate"}
    with pool.connect() as looking:
        assert sorted(each.key for each in rows(looking, "item")) == FORTH


def run_async(url: str, keys: list[str]) -> list[str]:
    async def send() -> list[str]:
        async with AsyncLanes(url) as lanes:
            return [each.outcome for each in await lanes.submit_many("letters", inputs(keys))]

    return asyncio.run(send())


def test_a_list_keeps_its_own_order_in_the_stream(pool: Engine) -> None:
    with Lanes(pool) as lanes:
        lanes.submit_many("letters", inputs(["z", "a", "m"]))
        assert [each.key for each in lanes.results("letters")] == ["z", "a", "m"]


VERBS: list[Callable[[Lanes, str], Any]] = [
    lambda lanes, key: lanes.amend("letters", key, {"text": "late"}),
    lambda lanes, key: lanes.cancel("letters", key),
    lambda lanes, key: lanes.label("letters", key, {"category": "bill"}),
    lambda lanes, key: lanes.submit("letters", {"text": "new"}, key=f"new {key}"),
]


def crossed(
    pool: Engine,
    threads: ThreadPoolExecutor,
    verb: Callable[[Lanes, str], Any],
    mine: Connection,
    theirs: Connection,
) -> tuple["Future[Any]", "Future[Any]"]:
    """Let two callers' transactions each lock a row and request the other's; return both requests."""
    verb(Lanes(mine), "a")
    verb(Lanes(theirs), "z")
    first = threads.submit(verb, Lanes(mine), "z")
    until(waiting(pool, 1), what="the first caller's wait")
    return first, threads.submit(verb, Lanes(theirs), "a")


@pytest.mark.parametrize("verb", VERBS)
def test_a_callers_transaction_in_a_deadlock_gets_an_error_and_can_continue(
    pool: Engine, quick: Engine, threads: ThreadPoolExecutor, verb: Callable[[Lanes, str], Any]
) -> None:
    with pool.begin() as setup:
        admit(setup, "a", "z", now=NOON)
    with quick.connect() as mine, quick.connect() as theirs:
        both = {
            mine: (futures := crossed(pool, threads, verb, mine, theirs))[0],
            theirs: futures[1],
        }
        until(lambda: any(each.done() for each in both.values()), what="the end of the deadlock")
        [(loser, told)] = [
            (c, e.exception()) for c, e in both.items() if e.done() and e.exception() is not None
        ]
        assert isinstance(told, Deadlocked)
        assert "deadlock" in str(told)
        assert "open transaction" not in str(told)
        loser.execute(text("select 1"))  # usable: only the call was rolled back
        loser.rollback()
        for connection, future in both.items():
            if connection is not loser:
                future.result(30)
                connection.commit()


def test_a_call_in_its_own_transaction_is_retried_after_a_deadlock(quick: Engine) -> None:
    tries = 0

    def deadlocked(connection: Connection) -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Deadlocked("waited for each other")
        return connection.execute(text("select 7")).scalar_one()

    assert Lanes(quick)._place.run(deadlocked) == 7
    assert tries == 3


def test_a_repeated_deadlock_is_raised_after_several_tries(quick: Engine) -> None:
    tries = 0

    def deadlocked(_: Connection) -> None:
        nonlocal tries
        tries += 1
        raise Deadlocked("waited for each other")

    with pytest.raises(Deadlocked):
        Lanes(quick)._place.run(deadlocked)
    assert 2 <= tries <= 10


def test_a_lock_timeout_is_not_reported_as_a_deadlock(pool: Engine, database_url: str) -> None:
    with pool.connect() as holder, Lanes(database_url, patience_s=0.001) as lanes:
        admit(holder, "k", now=NOON)
        with pytest.raises(StillLocked, match="another transaction") as told:
            lanes.submit("letters", {"text": "letter k"}, key="k")
        assert not isinstance(told.value, Deadlocked)
