"""`lanes results`: all items of a workload in the requested form, and new answers with `--follow`; one file
because every form is written of the same items."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from lanes.cli import app
from lanes.commands import results as command
from lanes.commands import running
from lanes.ids import BatchId, ItemId
from lanes.packing import ClaimedWork
from lanes.settling.listing import Listed, ListingQuery
from lanes.store.settling.results import News
from lanes.words import ItemState, Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, rows, save, submit, tried

Told = pytest.CaptureFixture[str]
FOLLOWING = "following letters: Ctrl-C ends it\n"


@pytest.fixture(autouse=True)
def letters(pool: Engine, address: str) -> None:
    """Prepare three Lambda letters: one corrected, one answered, one failed."""
    with pool.begin() as connection:
        version = publish(connection, now=NOON, mode="lambda", max_failures=1)
        admit(connection, "corrected", "failed", now=NOON, lane=Lane.REALTIME)
        route(connection, now=NOON)
        for work in claim(connection):
            outcome = Outcome.POISON if work.key == "failed" else Outcome.VALID
            save(connection, tried(work, outcome, A), now=later(minutes=1))
        batch_id, owed = submit(connection, version, now=later(minutes=2))
        save(
            connection,
            *(tried(each, output=B) for each in owed),
            batch_id=batch_id,
            now=later(minutes=3),
        )
    (work,) = claimed(pool, "answered", at=4)
    with pool.begin() as connection:
        save(connection, tried(work, output=A), now=later(minutes=4))


def claimed(pool: Engine, *keys: str, at: int) -> list[ClaimedWork]:
    with pool.begin() as connection:
        admit(connection, *keys, now=later(minutes=at), lane=Lane.REALTIME)
        route(connection, now=later(minutes=at))
        return sorted(claim(connection, now=later(minutes=at)), key=lambda each: each.key)


def got(told: Told, *arguments: str, code: int = 0) -> str:
    """Return the output of the command or, if `code` is not 0, its error message."""
    assert app(["results", "letters", *arguments]) == code
    out, err = told.readouterr()
    return out if code == 0 else err.strip()


def keys(lines: str) -> list[str]:
    return [json.loads(line)["key"] for line in lines.splitlines()]


# -- forms


def test_without_a_terminal_every_item_is_a_json_line(capsys: Told) -> None:
    assert keys(got(capsys)) == ["corrected", "failed", "answered"]
    assert got(capsys) == got(capsys, "--jsonl")
    first = json.loads(got(capsys).splitlines()[0])
    assert (first["state"], first["lane"], first["standing"], first["output"]) == (
        "settled",
        "batch",
        "authoritative",
        B,
    )


def test_json_output_is_one_list(capsys: Told) -> None:
    assert [each["key"] for each in json.loads(got(capsys, "--json"))] == [
        "corrected",
        "failed",
        "answered",
    ]
    assert json.loads(got(capsys, "--json", "--state", "canceled")) == []


def test_csv_output_has_a_column_for_each_field_of_the_answers(capsys: Told) -> None:
    found = list(csv.DictReader(io.StringIO(got(capsys, "--csv"))))
    assert [(each["key"], each["output.category"], each["output.note"]) for each in found] == [
        ("corrected", "b", ""),
        ("failed", "", ""),
        ("answered", "a", ""),
    ]


@pytest.mark.slow
def test_items_are_selected_by_state_and_by_time_of_change(capsys: Told) -> None:
    assert keys(got(capsys, "--state", "settled,failed")) == ["corrected", "failed"]
    assert keys(got(capsys, "--state", "answered", "--state", "failed")) == ["failed", "answered"]
    assert keys(got(capsys, "--since", "2026-11-24T12:03")) == ["corrected", "answered"]
    assert keys(got(capsys, "--since", "2026-11-24T12:03", "--state", "answered")) == ["answered"]
    assert keys(got(capsys, "--since", "0s")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--csv", "--json"], "give one of --csv, --jsonl and --json"),
        (
            ["--follow", "--json"],
            "a JSON list that is followed has no end: give --jsonl with --follow",
        ),
        (
            ["--state", "lost"],
            '--state "lost" is none: received, routed, working, answered, settled, failed, canceled',
        ),
        (
            ["--follow", "--state", "routed"],
            "--follow tells of items that are answered, settled, failed",
        ),
        (["--reader", " "], "--reader is empty: name the program or person that takes the answers"),
        (["--reader", "crm\0"], "--reader"),
        (["--since", ""], '--since "" is no moment'),
        (
            ["--since", "yesterday"],
            '--since "yesterday" is no moment: write a span such as 30m, 2h or 1d',
        ),
    ],
)
def test_wrong_usage_prints_one_sentence_and_exits_with_2(
    capsys: Told, arguments: list[str], said: str
) -> None:
    assert said in got(capsys, *arguments, code=2)


def test_an_unknown_workload_exits_with_2(capsys: Told) -> None:
    assert app(["results", "ghosts"]) == 2
    assert 'there is no workload "ghosts"' in capsys.readouterr().err


def test_printing_results_without_a_reader_records_no_read(pool: Engine, capsys: Told) -> None:
    got(capsys)
    with pool.begin() as connection:
        assert rows(connection, "read") == []


def readers(pool: Engine) -> list[tuple[str, str]]:
    query = (
        "select key, reader from lanes.read r join lanes.item i on i.id = r.item_id order by r.id"
    )
    with pool.begin() as connection:
        return [(key, reader) for key, reader in connection.execute(text(query))]


def test_a_named_reader_gets_a_read_recorded_for_each_printed_answer(
    pool: Engine, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    got(capsys, "--reader", "crm", "--csv", "--state", "settled,failed")
    assert readers(pool) == [("corrected", "crm")]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(command, "SHOWN", 1)
    got(capsys, "--reader", "ada")
    assert readers(pool)[1:] == [("answered", "ada")]  # only the last was shown


def test_a_terminal_shows_the_last_items_and_the_command_for_all_items(
    pool: Engine, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = got(capsys)
    assert [
        line.split()[0] for line in shown.splitlines() if line.startswith(("corr", "fail", "answ"))
    ] == ["corrected", "failed", "answered"]
    assert shown.splitlines()[-1] == "3 items."
    with pool.begin() as connection:
        admit_many(connection, 50)
    shown = " ".join(got(capsys).split())
    assert "corrected" not in shown
    assert (
        "The last 50 that were received; there are more: `lanes results letters --csv > FILE`"
        in shown
    )
    assert "No item." in got(capsys, "--state", "canceled")


# -- follow


Step = Callable[[], None]


def followed(
    pool: Engine, *steps: Step, states: tuple[ItemState, ...] = (), reader: str | None = None
) -> list[list[tuple[str, str, Any]]]:
    """Return the news after each step; the next step runs whenever no news waits."""
    with pool.begin() as connection:
        news = News(connection, "letters")
    told: list[list[tuple[str, str, Any]]] = []
    left = iter(steps)

    def pause() -> None:
        step = next(left, None)
        if step is None:
            raise KeyboardInterrupt
        told.append([])
        step()

    def said(item: Listed) -> tuple[str, str, Any]:
        return item.key, str(item.state), item.output

    with suppress(KeyboardInterrupt):
        query = ListingQuery("letters", states)
        for items in command.follow_news(pool, query, news, pause, reader):
            told[-1] += map(said, items)
    return told


def saves(pool: Engine, *attempts: Any, at: int, batch_id: BatchId | None = None) -> Step:
    def step() -> None:
        with pool.begin() as connection:
            save(connection, *attempts, now=later(minutes=at), batch_id=batch_id)

    return step


def test_following_returns_new_answers_corrections_and_failures_in_their_current_state(
    pool: Engine,
) -> None:
    one, two = claimed(pool, "one", "two", at=5)

    def corrected() -> None:
        with pool.begin() as connection:
            version = publish(connection, now=NOON, mode="lambda", max_failures=1)
            batch_id, owed = submit(connection, version, now=later(minutes=7))
            save(
                connection,
                *(tried(each, output=B) for each in owed),
                batch_id=batch_id,
                now=later(minutes=7),
            )

    told = followed(
        pool,
        saves(pool, tried(one, output=A), tried(two, Outcome.POISON), at=6),
        lambda: None,
        corrected,
        lambda: None,
    )
    assert told == [
        [("one", "answered", A), ("two", "failed", None)],
        [],
        [("answered", "settled", B), ("one", "settled", B)],
        [],
    ]


def test_following_returns_only_the_requested_states(pool: Engine) -> None:
    one, two = claimed(pool, "one", "two", at=5)
    step = saves(pool, tried(one), tried(two, Outcome.POISON), at=6)
    assert followed(pool, step, states=(ItemState.FAILED, ItemState.ROUTED)) == [
        [("two", "failed", None)]
    ]


def test_following_returns_an_answer_once_its_late_transaction_commits(pool: Engine) -> None:
    one, two = claimed(pool, "one", "two", at=5)
    with pool.connect() as slow:
        save(slow, tried(one), now=later(minutes=5))
        told = followed(
            pool, saves(pool, tried(two), at=6), lambda: None, slow.commit, lambda: None
        )
    assert [[key for key, *_ in step] for step in told] == [["two"], [], ["one"], []]


def test_the_read_of_a_locked_item_is_recorded_once_the_lock_is_released(
    pool: Engine,
) -> None:
    (one,) = claimed(pool, "one", at=5)
    lock = text("select from lanes.item where key = 'one' for update")
    with pool.connect() as holder:

        def answered_and_locked() -> None:
            saves(pool, tried(one), at=6)()
            holder.execute(lock)

        def free() -> None:
            assert readers(pool) == []
            holder.rollback()

        followed(pool, answered_and_locked, free, lambda: None, reader="crm")
    assert readers(pool) == [("one", "crm")]


def test_following_misses_no_answer_when_its_database_connection_is_lost(pool: Engine) -> None:
    one, two = claimed(pool, "one", "two", at=5)
    others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"

    def cut_off() -> None:
        saves(pool, tried(two), at=6)()
        with pool.begin() as connection:
            connection.execute(text(f"select pg_terminate_backend(pid) {others}")).all()

    told = followed(pool, saves(pool, tried(one), at=5), cut_off, lambda: None)
    assert sorted(key for step in told for key, *_ in step) == ["one", "two"]


def test_the_time_between_two_reads_by_the_caller_does_not_count_as_an_outage(
    pool: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = claimed(pool, "one", at=5)
    with pool.begin() as connection:
        news = News(connection, "letters")
    saves(pool, tried(one), at=6)()
    host = SimpleNamespace(at_s=0.0, monotonic=lambda: host.at_s)
    monkeypatch.setattr(command, "time", host)

    def pause() -> None:
        raise KeyboardInterrupt

    told = command.follow_news(pool, ListingQuery("letters"), news, pause)
    assert [each.key for each in next(told)] == ["one"]
    host.at_s = 2 * command.OUTAGE_S
    monkeypatch.setattr(news, "read", lost)
    with pytest.raises(KeyboardInterrupt):
        next(told)


def lost(_: Connection) -> list[ItemId]:
    """Raise the error of a read without a database."""
    raise OperationalError("gone", None, Exception())


# -- as a process


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Yield a function that starts `lanes results letters`."""
    running: list[subprocess.Popen[str]] = []
    environment = {**os.environ, "LANES_DATABASE_URL": database_url, "LANES_HOME": str(tmp_path)}

    def start(*arguments: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "lanes", "results", "letters", *arguments]
        pipe = subprocess.PIPE
        shell = [
            "sh",
            "-c",
            'trap "" INT; exec "$@"',
            "sh",
        ]  # as a script starts a background process
        running.append(
            subprocess.Popen([*shell, *words], env=environment, text=True, stdout=pipe, stderr=pipe)
        )
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.wait()


def line(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_following_process_prints_new_answers_and_exits_with_0_on_a_signal(
    pool: Engine, run: Callable[..., "subprocess.Popen[str]"], ending: signal.Signals
) -> None:
    (work,) = claimed(pool, "new", at=5)
    following = run("--follow", "--since", "0s")
    assert following.stderr is not None
    assert following.stderr.readline() == FOLLOWING
    saves(pool, tried(work, output=B), at=6)()
    assert (said := line(following))["key"] == "new"
    assert said["output"] == B
    following.send_signal(ending)
    out, err = following.communicate(timeout=30)
    assert (following.returncode, out, err) == (0, "", "")


@pytest.mark.slow
def test_closing_the_pipe_of_a_following_process_causes_no_traceback(
    pool: Engine, run: Callable[..., "subprocess.Popen[str]"]
) -> None:
    following = run("--follow")
    assert following.stdout is not None
    assert line(following)["key"] == "corrected"
    following.stdout.close()
    following.stdout = None
    _, err = following.communicate(timeout=30)
    assert (following.returncode, err) == (0, FOLLOWING)


@pytest.mark.slow
def test_closing_the_pipe_during_a_long_listing_causes_no_traceback(
    pool: Engine, run: Callable[..., "subprocess.Popen[str]"]
) -> None:
    with pool.begin() as connection:
        admit_many(connection, 3_000)
    listing = run("--csv")
    assert listing.stdout is not None
    assert listing.stdout.readline().startswith("key,state,")
    listing.stdout.close()
    listing.stdout = None
    _, err = listing.communicate(timeout=30)
    assert (listing.returncode, err) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_prints_one_sentence_and_exits_with_1(database_url: str) -> None:
    environment = {**os.environ, "LANES_DATABASE_URL": database_url}
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "lanes", "results", "letters", "--csv"]
        done = subprocess.run(
            words, env=environment, text=True, stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    said = "standard output failed (No space left on device): the output is incomplete\n"
    assert (done.returncode, done.stderr) == (1, said)


def admit_many(connection: Connection, number: int) -> None:
    connection.execute(
        text(
            "insert into lanes.item (workload, key, payload, content_hash, occurred_at, received_at, source)"
            " select 'letters', 'k' || n, '{}', '', :now, :now, 'sql' from generate_series(1, :number) n"
        ),
        {"now": NOON, "number": number},
    )


def test_a_long_listing_reports_its_progress_unless_a_terminal_shows_the_rows(
    capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    got(capsys)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(running, "PATIENCE_S", 0)
    assert app(["results", "letters"]) == 0
    assert capsys.readouterr().err == "letters: 3 written so far\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert app(["results", "letters", "--csv"]) == 0  # the terminal shows the rows themselves
    assert capsys.readouterr().err == ""
