"""Byte limits on what is loaded at once: for a batch, for a claim, at each door."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, literal, select, text
from sqlalchemy.dialects.postgresql import JSONB

from lanes import client, json_data
from lanes.batch.batch import BatchKind
from lanes.doors.filedoor import Layout
from lanes.store import statements, work
from lanes.store.batch import ready_work
from lanes.store.doors import items, unrouted
from lanes.store.statements import characters, octets
from lanes.words import Lane
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.store.tries import crowd, explained, keys, lock_for_batch, rows

LARGE = {"text": "x" * 100_000}


def waiting(
    connection: Connection, lane: Lane, *names: str, workload: str = "letters", payload: Any = LARGE
) -> None:
    admit(connection, *names, now=NOON, lane=lane, workload=workload, payload=payload)
    while unrouted.has_received(connection):  # one pass of the router has a byte limit too
        route(connection, now=NOON)


@pytest.mark.slow
def test_work_for_a_batch_is_loaded_up_to_a_byte_limit_and_at_least_one_item(
    connection: Connection,
) -> None:
    kind = BatchKind("letters", publish(connection, now=NOON).id)
    waiting(connection, Lane.BATCH, *(f"k{n:02d}" for n in range(30)))
    assert len(lock_for_batch(connection, kind, limit=100, most_bytes=1_050_000, now=NOON)) == 11
    assert keys(lock_for_batch(connection, kind, limit=100, most_bytes=1, now=NOON)) == ["k00"]
    assert len(lock_for_batch(connection, kind, limit=4, now=NOON)) == 4
    assert len(lock_for_batch(connection, kind, limit=100, now=NOON)) == 30


@pytest.mark.slow
def test_locking_work_for_a_batch_fetches_at_most_one_block_beyond_the_byte_limit(
    connection: Connection,
) -> None:
    """Queue 400 payloads of 100 KB and load thirty of them."""
    kind = BatchKind("letters", publish(connection, now=NOON).id)
    waiting(connection, Lane.BATCH, *(f"k{n:03d}" for n in range(400)))
    taken = lock_for_batch(connection, kind, limit=10_000, most_bytes=3_000_000, now=NOON)
    assert len(taken) == 30 > statements.FIRST
    locked = "select count(*) from (select id from lanes.work for update skip locked) free"
    connection.commit()
    with connection.engine.connect() as one, connection.engine.connect() as other:
        lock_for_batch(one, kind, limit=10_000, most_bytes=3_000_000, now=NOON)
        assert (
            other.execute(text(locked)).scalar_one()
            >= 400 - 30 - statements.FETCHED_BYTES // 100_000
        )


@pytest.mark.slow
def test_many_small_rows_are_all_fetched_in_order(connection: Connection) -> None:
    kind = BatchKind("letters", publish(connection, now=NOON).id)
    names = [f"k{n:04d}" for n in range(3_000)]
    waiting(connection, Lane.BATCH, *names, payload={"n": 1})
    assert keys(lock_for_batch(connection, kind, limit=10_000, now=NOON)) == names


@pytest.mark.slow
@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_the_query_for_a_batch_uses_the_claim_index_and_does_not_sort(
    connection: Connection, plans: str
) -> None:
    letters = publish(connection, now=NOON)
    crowd(connection, letters, Lane.BATCH)
    connection.execute(text(f"set local plan_cache_mode = {plans}"))
    plan = explained(
        connection,
        ready_work.select_for_batch(BatchKind("letters", letters.id), 500, now=NOON),
        name="batching",
    )
    assert "ix_work_claimable" in plan
    assert "Sort" not in plan


def claimed(connection: Connection, most: dict[str, int], *, most_bytes: int) -> Counter[str]:
    lease = timedelta(minutes=2)
    found = work.claim(
        connection,
        Lane.REALTIME,
        most,
        worker="w",
        lease=lease,
        within=work.ClaimBounds(most_bytes=most_bytes),
        now=NOON,
    )
    return Counter(each.workload for each in found)


def test_a_claim_returns_work_up_to_a_byte_limit_and_at_least_one_item(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    publish(connection, "notes", now=NOON)
    waiting(connection, Lane.REALTIME, *(f"k{n}" for n in range(8)))
    waiting(
        connection, Lane.REALTIME, *(f"n{n}" for n in range(8)), workload="notes", payload={"n": 1}
    )
    most = {"letters": 8, "notes": 8}
    assert claimed(connection, most, most_bytes=500_000) == {"letters": 3, "notes": 8}
    assert claimed(connection, {"letters": 8}, most_bytes=1) == {"letters": 1}
    assert claimed(connection, {"letters": 8}, most_bytes=10_000_000) == {"letters": 4}
    assert {each.state for each in rows(connection, "work")} == {"claimed"}


def test_a_claim_with_a_byte_limit_leaves_the_least_urgent_work(connection: Connection) -> None:
    publish(connection, now=NOON)
    waiting(connection, Lane.REALTIME, *"abcd")
    lease = timedelta(minutes=2)
    found = work.claim(
        connection,
        Lane.REALTIME,
        {"letters": 4},
        worker="w",
        lease=lease,
        within=work.ClaimBounds(most_bytes=150_000),
        now=NOON,
    )
    assert keys(found) == ["a", "b"]


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of inputs of each admission."""
    asked: list[int] = []
    admit_some = items.admit

    def counted(connection: Connection, inputs: Sequence[Any], **more: Any) -> Any:
        asked.append(len(inputs))
        return admit_some(connection, inputs, **more)

    monkeypatch.setattr(items, "admit", counted)
    return asked


@pytest.mark.slow
def test_a_client_admits_large_inputs_in_smaller_transactions(
    pool: Engine, address: str, monkeypatch: pytest.MonkeyPatch, transactions: list[int]
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, max_payload_kib=4096)
    sent = client.submit_many(
        "letters", ({"key": f"k{n}", "payload": {"text": "x" * 1_000_000}} for n in range(20))
    )
    assert [each.outcome for each in sent] == ["accepted"] * 20
    assert transactions == [9, 9, 2]


@pytest.mark.slow
def test_large_lines_of_a_file_are_admitted_in_smaller_transactions(
    pool: Engine, tmp_path: Path, transactions: list[int]
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, max_payload_kib=4096)
    file = tmp_path / "large.jsonl"
    file.write_text("".join(json.dumps({"text": "x" * 1_000_000}) + "\n" for _ in range(20)))
    told = list(items.admit_file(pool, file, "letters", Layout(), now=NOON))
    assert sum(len(each.keys) for each in told) == 20
    assert transactions == [9, 9, 2]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"text": "plain"},
        {"text": 'quoted "twice"\n\t\\ and / so', "empty": ""},
        {"text": "für 🎉", "n": 12, "share": 0.25, "yes": True, "no": False, "nothing": None},
        {"nested": {"list": [1, [2, {"three": "3"}], []]}, "b": 1, "a": 2},
        {"control": "\x01\x1f\x7f"},
    ],
)
def test_the_database_and_python_count_the_same_characters_and_octets(
    connection: Connection, value: dict[str, Any]
) -> None:
    stored = literal(json.dumps(value)).cast(JSONB)
    row = connection.execute(
        select(characters(stored).label("characters"), octets(stored).label("octets"))
    ).one()
    assert row.characters == json_data.characters(value)
    assert row.octets == len(json.dumps(value, ensure_ascii=False).encode())
