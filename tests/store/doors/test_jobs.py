"""Jobs at the doors: who begins a job, which items it accepts, and the refusal of the same name with other content."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes import client
from lanes.client import Lanes
from lanes.commands.items import submit as submit_file
from lanes.doors.filedoor import Layout, name_job
from lanes.errors import Refused, UnknownItem
from lanes.store.doors import items
from lanes.store.doors.items import admit_file
from lanes.store.settling import jobs as settled
from tests.conftest import NOON, later
from tests.examples import publish, submission
from tests.store.tries import rows


@pytest.fixture
def letters(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        publish(connection, "notes", now=NOON)


def jsonl(folder: Path, *texts: str, name: str = "week.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps({"text": each}) + "\n" for each in texts))
    return path


def jobs_of(connection: Connection) -> dict[str, str | None]:
    """Return the job of each item, by key."""
    found = "select i.key, j.name from lanes.item i left join lanes.job j on j.id = i.job_id order by i.id"
    return {row.key: row.name for row in connection.execute(text(found))}


def submit(connection: Connection, key: str, job: str | None, workload: str = "letters") -> str:
    query = text('select lanes.submit(:workload, \'{"text": "x"}\', :key, job => :job)')
    return connection.execute(query, {"workload": workload, "key": key, "job": job}).scalar_one()


def test_a_file_becomes_a_job_with_the_name_of_the_file(
    pool: Engine, letters: None, tmp_path: Path
) -> None:
    path = jsonl(tmp_path, "one", "two")
    (told,) = admit_file(pool, path, "letters", Layout(), now=NOON)
    assert told.job == "week.jsonl"
    with pool.begin() as connection:
        (job,) = rows(connection, "job_status")
        assert set(jobs_of(connection).values()) == {"week.jsonl"}
    assert (job.state, job.sent, job.received, job.waiting) == ("open", 2, 2, 2)
    assert (job.duplicates, job.refused) == (0, 0)


def test_the_same_file_again_is_the_same_job(pool: Engine, letters: None, tmp_path: Path) -> None:
    path = jsonl(tmp_path, "one", "two")
    for _ in range(2):
        list(admit_file(pool, path, "letters", Layout(), now=NOON))
    with pool.begin() as connection:
        (job,) = rows(connection, "job_status")
    assert (job.sent, job.received, job.duplicates) == (2, 2, 0)


def test_another_file_of_the_same_name_becomes_its_own_job_unless_the_job_was_named(
    pool: Engine, letters: None, tmp_path: Path
) -> None:
    list(admit_file(pool, jsonl(tmp_path, "one"), "letters", Layout(), now=NOON))
    other = jsonl(tmp_path, "two", "three")
    named = name_job(other, Layout(), "week.jsonl")
    with pytest.raises(Refused, match="name another job"):
        list(admit_file(pool, other, "letters", Layout(), job=named, now=NOON))
    (told,) = admit_file(pool, other, "letters", Layout(), now=NOON)
    assert told.job == f"week.jsonl-{name_job(other, Layout()).digest.hex()[:8]}"


def test_a_file_sent_for_another_workload_under_its_job_is_refused(
    pool: Engine, letters: None, tmp_path: Path
) -> None:
    path = jsonl(tmp_path, "one")
    list(admit_file(pool, path, "letters", Layout(), now=NOON))
    named = name_job(path, Layout(), "week.jsonl")
    said = 'holds this content for workload "letters"; name another job for workload "notes"'
    with pytest.raises(Refused, match=said):
        list(admit_file(pool, path, "notes", Layout(), job=named, now=NOON))


def test_an_item_keeps_its_first_job_and_is_a_duplicate_in_the_second(
    pool: Engine, letters: None, tmp_path: Path
) -> None:
    with pool.begin() as connection:
        assert submit(connection, "k", "first") == "accepted"
    inputs = [{"key": key, "payload": {"text": "x"}} for key in ("k", "l")]
    with Lanes(pool) as client:
        told = client.submit_many("letters", inputs, job="second")
    assert [each.outcome for each in told] == ["duplicate", "accepted"]
    with pool.begin() as connection:
        assert jobs_of(connection) == {"k": "first", "l": "second"}
        first, second = rows(connection, "job_status")
    assert (first.received, first.sent, first.duplicates) == (1, None, None)
    assert (second.received, second.sent, second.duplicates) == (1, 2, 1)


def test_a_list_sent_again_under_its_job_creates_no_second_items_even_without_keys(
    pool: Engine, letters: None
) -> None:
    inputs = [{"payload": {"text": "one"}}, {"payload": "no object"}, {"payload": {"text": "two"}}]
    with Lanes(pool) as client:
        outcomes = [
            [each.outcome for each in client.submit_many("letters", inputs, job="mine")]
            for _ in range(2)
        ]
        with pytest.raises(Refused, match="holds other content") as refused:
            client.submit_many("letters", inputs[:1], job="mine")
        found = client.job("mine").status()
    assert outcomes == [
        ["accepted", "malformed", "accepted"],
        ["duplicate", "malformed", "duplicate"],
    ]
    assert refused.value.reason == "job_conflict"
    assert (found.sent, found.received, found.refused, found.duplicates) == (3, 2, 1, 0)


def test_items_without_a_due_time_are_due_with_their_job(pool: Engine, letters: None) -> None:
    inputs = [
        {"key": "own", "payload": {"text": "x"}, "due_at": later(hours=1)},
        {"key": "of the job", "payload": {"text": "x"}},
    ]
    with Lanes(pool) as client:
        client.submit_many("letters", inputs, job="mine", due_at=later(hours=2))
        with pytest.raises(Refused, match="name the job"):
            client.submit_many("letters", inputs, due_at=later(hours=2))
    with pool.begin() as connection:
        assert [each.due_at for each in rows(connection, "item")] == [
            later(hours=1),
            later(hours=2),
        ]


def test_a_job_quoted_above_its_budget_is_refused_and_no_item_is_stored(
    pool: Engine, letters: None
) -> None:
    inputs = [{"key": key, "payload": {"text": "x"}} for key in "ab"]
    with Lanes(pool) as client:
        with pytest.raises(
            Refused,
            match=r'job "mine" is quoted at \$.+ for 2 items, above its budget of \$0; raise',
        ) as refused:
            client.submit_many("letters", inputs, job="mine", budget_usd=0)
        with pool.begin() as connection:
            assert rows(connection, "item") == rows(connection, "job") == []
        client.submit_many("letters", inputs, job="mine", budget_usd=5)
        assert client.job("mine").status().budget_usd == 5
    assert refused.value.reason == "job_budget"


@pytest.mark.parametrize("budget", [-1, float("nan"), 1e10, "much"])
def test_an_invalid_budget_is_refused(pool: Engine, letters: None, budget: Any) -> None:
    with Lanes(pool) as client, pytest.raises(Refused, match="budget must be 0 to 1,000,000,000"):
        client.submit_many("letters", [], job="mine", budget_usd=budget)


def test_a_file_above_its_budget_is_refused(
    address: str, pool: Engine, letters: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = jsonl(tmp_path, "one", "two")
    assert submit_file(path, workload="letters", budget=0) == 1
    assert " for 2 items, above its budget of $0" in capsys.readouterr().err
    assert submit_file(path, workload="letters", budget=1) == 0


async def test_programs_can_wait_for_the_end_of_a_job(
    address: str, pool: Engine, letters: None
) -> None:
    inputs = [{"payload": {"text": "x"}}] * 3
    sent = await client.asubmit_many("letters", inputs, job="mine", budget_usd=5)
    assert [each.outcome for each in sent] == ["accepted"] * 3
    assert not client.job("mine").wait(timeout_s=0).is_done
    assert not (await client.ajob("mine").wait(timeout_s=0)).is_done
    with pool.begin() as connection:
        settled.cancel(connection, "mine", now=NOON)
    assert client.job("mine").wait() == await client.ajob("mine").wait()
    assert client.job("mine").wait().is_done
    with pytest.raises(UnknownItem, match='no job "yours"'):
        await client.ajob("yours").wait()


def test_events_and_sql_can_name_a_job_for_each_item(connection: Connection) -> None:
    publish(connection, now=NOON)
    sent = [submission(key, job=job) for key, job in (("a", "x"), ("b", "y"), ("c", None))]
    items.admit(connection, sent, door="event", now=NOON)
    assert [submit(connection, "d", "x"), submit(connection, "e", None)] == ["accepted"] * 2
    assert jobs_of(connection) == {"a": "x", "b": "y", "c": None, "d": "x", "e": None}
    assert [each.state for each in rows(connection, "job_status")] == ["open", "open"]


def test_a_job_of_another_workload_or_a_job_sent_as_a_whole_accepts_no_item(
    pool: Engine, letters: None
) -> None:
    payload = {"text": "x"}
    with Lanes(pool) as client:
        client.submit_many("letters", [{"key": "k", "payload": payload}], job="whole")
    with pool.begin() as connection:
        assert submit(connection, "k", "whole") == "duplicate"
        assert submit(connection, "l", "whole") == "job_conflict"
        assert submit(connection, "n", "whole", "notes") == "job_conflict"
        (told,) = items.admit(connection, [submission("m", job="whole")], door="client", now=NOON)
        assert told.outcome == "job_conflict"
        assert told.detail == (
            'job "whole" was sent as a whole and takes no other items; name another job'
        )
        assert len(rows(connection, "rejected_log")) == 3


@pytest.mark.parametrize("name", ["", "x" * 513])
def test_an_invalid_job_name_is_refused(connection: Connection, name: str) -> None:
    publish(connection, now=NOON)
    assert submit(connection, "k", name) == "malformed"
    assert rows(connection, "job") == []


def test_no_job_is_created_for_an_unknown_workload(connection: Connection) -> None:
    assert submit(connection, "k", "x", "nowhere") == "unknown_workload"
    assert rows(connection, "job") == []
