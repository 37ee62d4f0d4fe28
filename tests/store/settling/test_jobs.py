"""The status of jobs (progress, failures, cost and expected end) and a person's actions on a job."""

import json
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from lanes.commands import items as commands
from lanes.doors.item import Amendment
from lanes.errors import ActionRefused, UnknownItem
from lanes.report import job as report
from lanes.settling.listing import JobState, JobStatus
from lanes.store.doors import emptying, items
from lanes.store.settling import jobs
from lanes.words import Lane, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, claim, events, home, row, rows, save, submit, tried

Told = pytest.CaptureFixture[str]


def status(connection: Connection, name: str = "mine") -> JobStatus:
    return jobs.status(connection, name, now=later(minutes=1))


def closed(connection: Connection, name: str = "mine") -> None:
    """Mark the job as completely sent."""
    connection.exec_driver_sql(
        f"update lanes.job set digest = '', sent = 4, refused = 0, closed_at = created_at where name = '{name}'"
    )


@pytest.fixture
def mixed(connection: Connection) -> Connection:
    """Run `mix` in the test's transaction."""
    mix(connection)
    return connection


def mix(connection: Connection) -> None:
    """Create a job of four real-time items: one settled, one failed, two claimed."""
    publish(connection, now=NOON, max_failures=1)
    admit(connection, "a", "b", "c", "d", now=NOON, lane=Lane.REALTIME, job="mine")
    admit(connection, "other", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    found = {each.key: each for each in claim(connection)}
    save(connection, tried(found["a"]), tried(found["other"]), tried(found["b"], Outcome.POISON))


def test_a_status_counts_only_the_items_of_the_job(mixed: Connection) -> None:
    found = status(mixed)
    assert (found.received, found.settled, found.failed, found.waiting) == (4, 1, 1, 2)
    (reason,) = found.failures
    assert found.failures[reason] == 1
    assert found.cost_usd == row(mixed, "item_status", key="a").cost_usd > 0
    assert found.state is JobState.OPEN


def test_the_estimated_cost_adds_the_route_estimates_of_the_open_items(mixed: Connection) -> None:
    found = status(mixed)
    each = row(mixed, "route_log", key="c").realtime_usd
    assert found.estimated_usd == pytest.approx(found.cost_usd + 2 * each)


def test_the_expected_end_of_real_time_follows_the_pace_of_the_last_two_minutes(
    mixed: Connection,
) -> None:
    of_minute = status(mixed)
    assert of_minute.expected_end_at is not None
    assert later(minutes=3) < of_minute.expected_end_at < later(minutes=10)  # one a minute, 2 left
    assert of_minute.probability == 0.95
    idle = jobs.status(mixed, "mine", now=later(minutes=3))
    assert (idle.expected_end_at, idle.probability) == (None, None)


def test_the_page_shows_the_progress_of_the_job(mixed: Connection) -> None:
    page = report.render(status(mixed), NOON)
    assert page.startswith("# Job mine of letters is open\n")
    assert f"`{'█' * 20}{'░' * 20}` 50 % no longer wait" in page
    assert "- 2 of 4 items over (2 waiting, 1 settled, 1 failed)." in page


def test_the_expected_end_of_a_lambda_job_includes_the_batch_that_confirms_its_items(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, mode="lambda")
    admit(connection, "a", "b", now=NOON, lane=Lane.REALTIME, job="mine")
    route(connection, now=NOON)
    (first, _) = claim(connection)
    save(connection, tried(first))
    found = status(connection)
    assert found.expected_end_at is not None
    assert found.expected_end_at > later(minutes=30)


def test_a_form_for_the_job_of_another_workload_changes_nothing(mixed: Connection) -> None:
    asked: dict[str, Any] = {"job": "mine", "action": "cancel", "who": "ada", "why": "so"}
    with pytest.raises(ActionRefused, match='job "mine" is of workload "letters"'):
        commands.JobAction(workload="notes", **asked).perform(mixed, NOON)
    assert status(mixed).canceled == 0
    assert commands.JobAction(workload="letters", **asked).perform(mixed, NOON).left
    assert status(mixed).canceled == 2


def test_the_outlook_compares_the_cost_with_the_budget(mixed: Connection) -> None:
    mixed.exec_driver_sql("update lanes.job set budget_usd = 1")
    assert "in the end, of its budget of $1.00." in report.outlook(status(mixed), NOON)[0]
    mixed.exec_driver_sql("update lanes.job set budget_usd = 0.00001")
    assert ", above its budget of $" in report.outlook(status(mixed), NOON)[0]


def test_the_expected_end_of_batch_items_uses_the_confidence_of_the_workload(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.BATCH, job="mine")
    route(connection, now=NOON)
    waits = status(connection)
    submit(connection, letters)
    out = status(connection)
    assert waits.expected_end_at is not None
    assert out.expected_end_at is not None
    assert out.expected_end_at > NOON
    assert waits.probability == out.probability == letters.spec.confidence


def test_a_job_is_done_once_every_item_has_ended(mixed: Connection) -> None:
    closed(mixed)
    assert not status(mixed).is_done
    assert jobs.cancel(mixed, "mine", now=NOON) == 2
    found = status(mixed)
    assert (found.settled, found.failed, found.canceled, found.is_done) == (1, 1, 2, True)
    assert jobs.cancel(mixed, "mine", now=NOON) == 0
    assert found.estimated_usd == found.cost_usd


def test_canceling_a_job_during_a_batch_bills_its_answers_and_shows_none(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, "a", "b", now=NOON, lane=Lane.BATCH, job="mine")
    route(connection, now=NOON)
    batch_id, works = submit(connection, letters)
    admit(connection, "c", now=NOON, lane=Lane.BATCH, job="mine")
    route(connection, now=NOON)
    assert jobs.cancel(connection, "mine", now=NOON) == 3
    save(connection, *map(tried, works), batch_id=batch_id)
    home(connection, batch_id)
    found = status(connection)
    assert (found.canceled, found.settled) == (3, 0)
    assert found.cost_usd > Decimal(0)
    assert rows(connection, "current_results") == []


def test_retrying_a_job_retries_only_the_failed_items_of_the_job(mixed: Connection) -> None:
    admit(mixed, "stranger", now=NOON, lane=Lane.REALTIME)
    route(mixed, now=NOON)
    (stranger,) = claim(mixed)
    save(mixed, tried(stranger, Outcome.POISON))
    assert jobs.retry(mixed, "mine", now=NOON) == 1
    assert status(mixed).failed == 0
    assert row(mixed, "item_status", key="stranger").state == "failed"


def test_an_unknown_job_is_an_error(connection: Connection) -> None:
    for act in (jobs.status, jobs.cancel, jobs.retry):
        with pytest.raises(UnknownItem, match='no job "nothing"; `lanes jobs`'):
            act(connection, "nothing", now=NOON)


def test_a_completely_sent_job_emits_one_event_when_it_is_done(mixed: Connection) -> None:
    closed(mixed)
    assert jobs.finish(mixed, now=NOON) == []
    jobs.cancel(mixed, "mine", now=NOON)
    (done,) = jobs.finish(mixed, now=later(seconds=1))
    assert jobs.finish(mixed, now=later(seconds=2)) == []
    (told,) = events(mixed, "lanes.job.done")
    assert told.resource == "lanes.workload.letters"
    assert told.payload == done.build_payload()
    assert (told.payload["settled"], told.payload["failed"], told.payload["canceled"]) == (1, 1, 2)
    assert jobs.retry(mixed, "mine", now=NOON) == 1
    assert not status(mixed).is_done
    (again,) = claim(mixed)
    save(mixed, tried(again))
    assert [each.settled for each in jobs.finish(mixed, now=later(seconds=3))] == [2]


def test_a_job_received_item_by_item_is_done_a_minute_after_its_last_item(
    mixed: Connection,
) -> None:
    jobs.cancel(mixed, "mine", now=NOON)
    assert jobs.finish(mixed, now=later(seconds=59)) == []
    assert not status(mixed).is_done
    assert len(jobs.finish(mixed, now=later(seconds=60))) == 1
    assert status(mixed).is_done


def test_new_items_after_the_end_of_a_job_cause_a_second_end_but_duplicates_do_not(
    mixed: Connection,
) -> None:
    jobs.cancel(mixed, "mine", now=NOON)
    assert len(jobs.finish(mixed, now=later(minutes=1))) == 1
    admit(mixed, "a", now=later(minutes=2), lane=Lane.REALTIME, job="mine")
    jobs.fold(mixed)
    assert jobs.finish(mixed, now=later(minutes=5)) == []
    admit(mixed, "e", now=later(minutes=6), lane=Lane.REALTIME, job="mine")
    jobs.fold(mixed)
    assert [each.job for each in jobs.list_unfinished(mixed, most=9, now=later(minutes=6))] == [
        "mine"
    ]
    jobs.cancel(mixed, "mine", now=later(minutes=6))
    assert [each.received for each in jobs.finish(mixed, now=later(minutes=7))] == [5]


def test_a_job_whose_inputs_are_all_duplicates_is_done(mixed: Connection) -> None:
    admit(mixed, "a", "b", now=NOON, lane=Lane.REALTIME, job="again")
    assert jobs.finish(mixed, now=later(seconds=59)) == []
    (done,) = jobs.finish(mixed, now=later(seconds=60))
    assert (done.job, done.received, done.is_done) == ("again", 0, True)


def test_a_retry_without_failed_items_does_not_report_the_end_again(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.REALTIME, job="mine")
    jobs.cancel(connection, "mine", now=NOON)
    assert len(jobs.finish(connection, now=later(minutes=1))) == 1
    assert jobs.retry(connection, "mine", now=later(minutes=1)) == 0
    assert jobs.finish(connection, now=later(minutes=2)) == []


def test_a_job_that_is_still_being_sent_is_not_done(mixed: Connection) -> None:
    mixed.exec_driver_sql("update lanes.job set digest = ''")
    jobs.cancel(mixed, "mine", now=NOON)
    assert jobs.finish(mixed, now=later(hours=1)) == []
    assert status(mixed).state is JobState.SENDING


def test_folding_changes_no_count(mixed: Connection) -> None:
    before = status(mixed)
    for _ in range(2):
        jobs.fold(mixed)
        assert status(mixed) == before
    assert rows(mixed, "job_use") == []


DONE_TO_A_JOB = ("admit", "answer", "fail", "batch", "amend", "cancel", "forget", "retry", "fold")
FACTS = """
select count(*)::int as received,
       count(*) filter (where canceled_at is not null)::int as canceled,
       count(*) filter (where canceled_at is null and failed_at is not null)::int as failed,
       count(*) filter (where canceled_at is null and failed_at is null and settled_at is not null)::int as settled,
       count(*) filter (where canceled_at is null and failed_at is null and settled_at is null
                          and answered_at is not null)::int as answered,
       (select coalesce(sum(a.cost_usd), 0) from lanes.attempt a join lanes.item o on o.id = a.item_id
         where o.job_id is not null) as cost_usd
  from lanes.item where job_id is not null
"""


@pytest.mark.slow
@given(
    st.sampled_from(["plain", "lambda"]),
    st.lists(st.tuples(st.sampled_from(DONE_TO_A_JOB), st.sampled_from("abc")), max_size=16),
)
def test_the_counts_of_a_job_always_equal_those_of_its_items(
    connection: Connection, mode: str, done: list[tuple[str, str]]
) -> None:
    with connection.begin_nested() as nested:
        version = publish(connection, now=NOON, mode=mode, max_failures=1)
        admit(connection, "other", now=NOON, lane=Lane.REALTIME)
        admit(connection, "a", now=NOON, lane=Lane.REALTIME, job="mine")
        route(connection, now=NOON)
        for number, (what, key) in enumerate(done):
            _do(connection, version, what, key, number)
            facts = connection.exec_driver_sql(FACTS).one()._asdict()
            found = row(connection, "job_status")
            assert {name: getattr(found, name) for name in facts} == facts, (what, key)
        nested.rollback()


def _do(connection: Connection, version: Version, what: str, key: str, number: int) -> None:
    now = later(minutes=number)
    with suppress(UnknownItem, ActionRefused):
        if what == "admit":
            admit(connection, key, now=now, lane=Lane.REALTIME, job="mine")
            route(connection, now=now)
        elif what in ("answer", "fail"):
            outcome = Outcome.VALID if what == "answer" else Outcome.POISON
            claimed = claim(connection, now=now)
            save(connection, *(tried(each, outcome, at=now) for each in claimed), now=now)
        elif what == "batch" and rows(connection, "work", state="ready", lane="batch"):
            batch_id, works = submit(connection, version, now=now)
            output = {**A, "category": "c"}
            save(connection, *(tried(w, output=output, at=now) for w in works), batch_id=batch_id)
        elif what == "amend":
            items.amend(
                connection, Amendment("letters", key, {"n": number}), door="client", now=now
            )
            route(connection, now=now)
        elif what == "cancel":
            items.cancel(connection, "letters", key)
        elif what == "forget":
            emptying.forget(connection, "letters", key, now=now)
        elif what == "retry":
            jobs.retry(connection, "mine", now=now)
        elif what == "fold":
            jobs.fold(connection)


@pytest.fixture
def address_of_mixed(pool: Engine, address: str) -> None:
    with pool.begin() as connection:
        mix(connection)
        closed(connection)


@pytest.mark.usefixtures("address_of_mixed")
class TestCommands:
    """`lanes jobs` and `lanes job`."""

    def test_jobs_are_listed(self, capsys: Told) -> None:
        assert commands.jobs(as_json=True) == 0
        (told,) = json.loads(capsys.readouterr().out)
        assert (told["job"], told["received"], told["settled"]) == ("mine", 4, 1)
        assert commands.jobs() == 0
        assert "mine" in capsys.readouterr().out

    def test_a_job_is_shown_canceled_and_followed_to_its_end(self, capsys: Told) -> None:
        assert commands.job("mine") == 0
        said = capsys.readouterr().out
        assert (
            "Job mine of letters is open: 2 of 4 items over (2 waiting, 1 settled, 1 failed)."
            in said
        )
        assert " so far, about $" in said
        assert "1 item failed: " in said
        assert commands.job("mine", retry=True) == 0
        assert "1 item will be tried again." in capsys.readouterr().out
        assert commands.job("mine", cancel=True) == 0
        assert (
            "Job mine of letters is done: 4 of 4 items over (1 settled, 3 canceled)"
            in capsys.readouterr().out
        )
        assert commands.job("mine", follow=True) == 0
        assert "mine: 4 of 4" in capsys.readouterr().err

    def test_the_results_of_a_job_are_written_to_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "answers.jsonl"
        assert commands.job("mine", results=file) == 0
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert [(each["key"], each["state"]) for each in lines] == [
            ("a", "settled"),
            ("b", "failed"),
            ("c", "working"),
            ("d", "working"),
        ]

    def test_invalid_job_commands_print_an_error(self, capsys: Told, tmp_path: Path) -> None:
        assert commands.job("nothing") == 2
        assert commands.job("mine", cancel=True, retry=True) == 2
        assert commands.job("mine", results=tmp_path / "no folder" / "x") == 1
        said = capsys.readouterr().err
        assert 'there is no job "nothing"' in said
        assert "cannot be written: No such file" in said
