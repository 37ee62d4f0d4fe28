"""News of answers, each reported once, even if its transaction commits late or other transactions write meanwhile."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.packing import ClaimedWork
from lanes.store.replays import promotions, replays
from lanes.store.settling import decisions, results
from lanes.store.settling.results import News
from lanes.words import Lane, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, begin_replay, publish, route
from tests.store.tries import A, B, claim, said, save, submit, tried


@pytest.fixture(autouse=True)
def letters(pool: Engine) -> Version:
    """Publish a Lambda workload."""
    with pool.begin() as connection:
        return publish(connection, now=NOON, mode="lambda", max_failures=1)


@pytest.fixture
def open_(pool: Engine) -> Iterator[Callable[[], Connection]]:
    """Yield a function that opens connections, which the test commits."""
    opened: list[Connection] = []

    def connect() -> Connection:
        opened.append(pool.connect())
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


def claimed(pool: Engine, *keys: str, workload: str = "letters") -> list[ClaimedWork]:
    """Admit items and claim their real-time work."""
    with pool.begin() as connection:
        admit(connection, *keys, now=NOON, workload=workload, lane=Lane.REALTIME)
        route(connection, now=NOON)
        return sorted(claim(connection), key=lambda each: each.key)


def begun(pool: Engine) -> News:
    with pool.begin() as connection:
        return News(connection, "letters")


def heard(pool: Engine, news: News) -> list[str]:
    """Read the news and return the keys of its items."""
    with pool.begin() as connection:
        ids = news.read(connection)
        news.confirm_read()
        keys = text("select key from lanes.item where id = any (:ids) order by key")
        return list(connection.execute(keys, {"ids": ids}).scalars())


def gaps(news: News) -> list[object]:
    return [gap for tail in news._tails.values() for gap in tail.gaps]


# -- reported changes


def test_an_answer_and_its_correction_are_each_reported_once(
    pool: Engine, letters: Version
) -> None:
    (work,) = claimed(pool, "k")
    news = begun(pool)
    assert heard(pool, news) == []
    with pool.begin() as connection:
        save(connection, tried(work, output=A))
    assert heard(pool, news) == ["k"]
    with pool.begin() as connection:
        batch_id, (owed,) = submit(connection, letters)
    assert heard(pool, news) == []
    with pool.begin() as connection:
        save(connection, tried(owed, output=B), batch_id=batch_id, now=later(minutes=1))
    assert heard(pool, news) == ["k"]
    assert heard(pool, news) == []


def test_an_answer_from_before_the_start_is_not_reported(pool: Engine) -> None:
    (work,) = claimed(pool, "k")
    with pool.begin() as connection:
        save(connection, tried(work))
    assert heard(pool, begun(pool)) == []


def test_a_failure_and_the_answer_after_its_retry_are_each_reported(pool: Engine) -> None:
    (work,) = claimed(pool, "k")
    news = begun(pool)
    with pool.begin() as connection:
        save(connection, tried(work, Outcome.POISON), now=later(seconds=1))
    assert heard(pool, news) == ["k"]
    with pool.begin() as connection:
        assert decisions.retry(connection, "letters", ["k"], now=later(seconds=2)) == ["k"]
        (again,) = claim(connection, now=later(seconds=3))
    assert heard(pool, news) == []
    with pool.begin() as connection:
        save(connection, tried(again), now=later(seconds=4))
    assert heard(pool, news) == ["k"]


def test_a_failed_second_pass_that_settles_a_provisional_answer_is_reported(
    pool: Engine, letters: Version
) -> None:
    (work,) = claimed(pool, "k")
    with pool.begin() as connection:
        save(connection, tried(work))
        batch_id, (owed,) = submit(connection, letters)
    news = begun(pool)
    with pool.begin() as connection:
        save(connection, tried(owed, Outcome.POISON), batch_id=batch_id, now=later(minutes=1))
    assert heard(pool, news) == ["k"]


def test_an_attempt_that_changes_no_item_state_is_not_reported(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, mode="plain", max_failures=9)
    (work,) = claimed(pool, "k")
    news = begun(pool)
    with pool.begin() as connection:
        save(connection, tried(work, Outcome.INVALID))
    assert heard(pool, news) == []


def test_an_attempt_after_its_item_failed_is_recorded_but_not_reported(pool: Engine) -> None:
    (work,) = claimed(pool, "k")
    with pool.begin() as connection:
        save(connection, tried(work, Outcome.UNKNOWN), now=later(seconds=1))
        assert connection.execute(text("select failed_at from lanes.item")).scalar_one() == later(
            seconds=1
        )
    news = begun(pool)
    with pool.begin() as connection:
        save(connection, tried(work, Outcome.INVALID, response=said()), now=later(seconds=2))
        assert connection.execute(text("select count(*) from lanes.attempt")).scalar_one() == 2
    assert heard(pool, news) == []


def test_an_answer_of_another_workload_is_not_reported(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, "invoices", now=NOON)
    (work,) = claimed(pool, "k", workload="invoices")
    news = begun(pool)
    with pool.begin() as connection:
        save(connection, tried(work))
    assert heard(pool, news) == []


@pytest.mark.slow
def test_a_replay_is_reported_when_it_is_promoted_and_when_it_is_demoted(pool: Engine) -> None:
    with pool.begin() as connection:
        letters = publish(connection, now=NOON, mode="plain")
    works = claimed(pool, "a", "b", "c")
    with pool.begin() as connection:
        save(connection, *(tried(each, output=A) for each in works))
        news = News(connection, "letters")
        again = begin_replay(connection)
        replays.read_some(connection, again.id, now=NOON)
        batch_id, members = submit(connection, letters)
        save(
            connection,
            *(tried(each, output=B) for each in members),
            batch_id=batch_id,
            now=later(minutes=1),
        )
        replays.finish(connection, now=later(minutes=1))
    assert heard(pool, news) == []
    for decide in (promotions.promote, promotions.demote):
        with pool.begin() as connection:
            assert decide(connection, "letters", now=later(minutes=2))[1] == 3
        assert heard(pool, news) == ["a", "b", "c"]
        assert heard(pool, news) == []


def test_news_beyond_the_limit_of_one_read_is_returned_in_several_reads(
    pool: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MOST", 2)
    works = claimed(pool, "a", "b", "c", "d", "e")
    news = begun(pool)
    with pool.begin() as connection:
        save(connection, *(tried(each) for each in works))
    told = [(sorted(heard(pool, news)), news.more) for _ in range(4)]
    assert sorted(key for keys, _ in told for key in keys) == ["a", "b", "c", "d", "e"]
    assert [more for _, more in told] == [True, True, False, False]


def test_unconfirmed_news_is_returned_again_by_the_next_read(pool: Engine) -> None:
    (work,) = claimed(pool, "k")
    news = begun(pool)
    with pool.begin() as connection:
        save(connection, tried(work))
    with pool.begin() as connection:
        assert len(news.read(connection)) == 1  # not confirmed, as after a lost connection
    assert heard(pool, news) == ["k"]
    assert heard(pool, news) == []


# -- transactions that commit late


@pytest.mark.slow
def test_an_answer_that_is_committed_after_later_answers_is_reported(
    pool: Engine, open_: Callable[[], Connection]
) -> None:
    first, second = claimed(pool, "first", "second")
    news = begun(pool)
    slow = open_()
    save(slow, tried(first))
    with pool.begin() as connection:
        save(connection, tried(second))
    assert heard(pool, news) == ["second"]
    assert heard(pool, news) == []
    slow.commit()
    assert heard(pool, news) == ["first"]
    assert heard(pool, news) == []
    assert gaps(news) == []


@pytest.mark.slow
def test_an_answer_whose_transaction_was_open_before_the_start_is_reported(
    pool: Engine, open_: Callable[[], Connection]
) -> None:
    first, second, third = claimed(pool, "first", "second", "third")
    slow, other = open_(), open_()
    save(slow, tried(first))
    save(other, tried(second, Outcome.POISON))
    with pool.begin() as connection:
        save(connection, tried(third))
    news = begun(pool)
    assert heard(pool, news) == []
    slow.commit()
    assert heard(pool, news) == ["first"]
    other.commit()
    assert heard(pool, news) == ["second"]
    assert heard(pool, news) == []
    assert gaps(news) == []


@pytest.mark.slow
def test_an_answer_written_in_a_savepoint_is_reported_when_its_transaction_commits(
    pool: Engine, open_: Callable[[], Connection]
) -> None:
    first, second = claimed(pool, "first", "second")
    news = begun(pool)
    slow = open_()
    with slow.begin_nested():
        save(slow, tried(first))
    with pool.begin() as connection:
        save(connection, tried(second))
    assert heard(pool, news) == ["second"]
    slow.commit()
    assert heard(pool, news) == ["first"]


@pytest.mark.slow
def test_an_answer_whose_transaction_outlasts_an_overlapping_one_is_reported(
    pool: Engine, open_: Callable[[], Connection]
) -> None:
    one, two, three = claimed(pool, "one", "three", "two")
    news = begun(pool)
    early, late = open_(), open_()
    save(early, tried(one))
    save(late, tried(two))
    with pool.begin() as connection:
        save(connection, tried(three))
    assert heard(pool, news) == ["two"]
    early.commit()
    assert heard(pool, news) == ["one"]
    late.commit()
    assert heard(pool, news) == ["three"]


@pytest.mark.slow
def test_a_rolled_back_answer_is_neither_reported_nor_waited_for(
    pool: Engine, open_: Callable[[], Connection]
) -> None:
    first, second = claimed(pool, "first", "second")
    news = begun(pool)
    given_up = open_()
    save(given_up, tried(first))
    with pool.begin() as connection:
        save(connection, tried(second))
    assert heard(pool, news) == ["second"]
    assert gaps(news) != []
    given_up.rollback()
    assert heard(pool, news) == []
    assert heard(pool, news) == []
    assert gaps(news) == []


@pytest.mark.slow
def test_unrelated_open_transactions_do_not_delay_the_news(
    pool: Engine, open_: Callable[[], Connection]
) -> None:
    first, second = claimed(pool, "first", "second")
    reader = open_()
    results.read(
        reader, "letters", "first", reader="desk"
    )  # writes the ledger of reads, and stays open
    submitter = open_()
    admit(submitter, "new", now=NOON)
    news = begun(pool)
    given_up = open_()
    save(given_up, tried(first))
    with pool.begin() as connection:
        save(connection, tried(second))
    given_up.rollback()
    assert heard(pool, news) == ["second"]
    assert heard(pool, news) == []
    assert gaps(news) == []
