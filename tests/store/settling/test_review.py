"""The review queue: its items, the labels that are a fair sample, and labeling at a terminal."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.commands import labels as commands
from lanes.commands.labels import LabelItem
from lanes.errors import ActionRefused, UnknownItem
from lanes.store.database import clock
from lanes.store.doors import items
from lanes.store.promises import recording
from lanes.store.settling import decisions
from lanes.store.settling.decisions import ReviewedItem
from lanes.store.workload import workloads
from lanes.words import Lane, Signature
from lanes.workload.schemas import list_closed_fields
from tests.conftest import NOON, later
from tests.examples import SCHEMA, admit, publish, route
from tests.store.promises.test_briefings import quality_drift
from tests.store.tries import A, B, claim, home, rows, save, submit, tried

KEYS = [f"k{n:03}" for n in range(60)]
SOON = later(minutes=1)


def answered(connection: Connection, *keys: str, wrong: tuple[str, ...] = (), **spec: Any) -> None:
    """Answer `keys` of a Lambda workload with `A`, and let a batch correct the `wrong` ones to `B`."""
    version = publish(connection, now=NOON, mode="lambda", **spec)
    admit(connection, *keys, now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    save(connection, *(tried(each) for each in claim(connection)))
    batch_id, works = submit(connection, version)
    told = (tried(each, output=B if each.key in wrong else A, at=SOON) for each in works)
    save(connection, *told, batch_id=batch_id, now=SOON)
    home(connection, batch_id, now=SOON)


def queue(connection: Connection, most: int | None = None) -> list[ReviewedItem]:
    version = publish(connection, now=NOON, mode="lambda", review_share=share(connection))
    return decisions.review_queue(connection, version, now=SOON, most=most)


def share(connection: Connection) -> float:
    return connection.execute(
        text("select v.review_share from lanes.version v order by id desc limit 1")
    ).scalar_one()


def members(connection: Connection, below: float) -> list[str]:
    """Return the keys of the uniform share, in the order of their hash."""
    query = (
        "select key from (select key, lanes.review_chance(workload, key) as chance from lanes.item) i"
        " where chance < :below order by chance"
    )
    return [*connection.execute(text(query), {"below": below}).scalars()]


def say(
    connection: Connection, *keys: str, right: dict[str, Any] = A, source: str = "review:ada"
) -> None:
    items.label(connection, "letters", dict.fromkeys(keys, right), source=source)


def bases(connection: Connection) -> dict[str, str]:
    query = "select i.key, l.basis from lanes.label l join lanes.item i on i.id = l.item_id"
    return {each.key: each.basis for each in connection.execute(text(query))}


def test_the_uniform_share_is_a_fair_sample_of_keys_and_independent_between_workloads(
    connection: Connection,
) -> None:
    query = text(
        "select avg((lanes.review_chance('letters', 'k' || n) < 0.1)::int)::float8 as share,"
        " corr(lanes.review_chance('letters', 'k' || n), lanes.review_chance('parcels', 'k' || n)) as alike"
        " from generate_series(1, 20000) n"
    )
    found = connection.execute(query).one()
    assert found.share == pytest.approx(0.1, abs=0.01)
    assert abs(found.alike) < 0.03


def test_the_queue_starts_with_the_uniform_share_by_hash_and_continues_with_corrected_items(
    connection: Connection,
) -> None:
    answered(connection, *KEYS, wrong=tuple(KEYS[::2]), review_share=0.3)
    uniform = members(connection, 0.3)
    assert 8 <= len(uniform) <= 30
    found = queue(connection, most=10)
    assert [each.key for each in found[:5]] == uniform[:5]
    assert {tuple(each.why) for each in found[:5]} == {("uniform",)}
    assert {tuple(each.why) for each in found[5:]} == {("corrected",)}
    # A corrected member of the share waits for its place in the share.
    assert {each.key for each in found[5:]} <= set(KEYS[::2]) - set(uniform)
    everything = queue(connection, most=1_000)
    assert {each.key for each in everything} == set(uniform) | set(KEYS[::2])
    assert len(everything) == len({each.key for each in everything})


@pytest.mark.slow
def test_the_queue_contains_the_newest_answers_of_a_drifting_class_until_the_drift_is_accepted(
    connection: Connection,
) -> None:
    quality_drift(connection)
    version = workloads.read_versions(connection)["letters"]
    found = [
        each.key
        for each in decisions.review_queue(connection, version, now=NOON)
        if "class that drifts" in each.why
    ]
    assert len(found) == 5
    assert all(each.startswith("at-9-") for each in found)
    recording.accept_quality(connection, "letters", Signature("ada", "a campaign", NOON))
    left = decisions.review_queue(connection, version, now=NOON)
    assert [each.why for each in left if "class that drifts" in each.why] == []


def test_labeled_items_leave_the_queue_and_a_day_has_a_limit(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(connection, *KEYS, wrong=tuple(KEYS[::2]), review_share=0.3)
    monkeypatch.setattr(decisions, "LABELS_A_DAY", 8)
    first = queue(connection)
    assert len(first) == 8
    for each in first[:6]:
        connection.execute(
            text("select lanes.label('letters', :key, '{}', 'review', :now)"),
            {"key": each.key, "now": SOON},
        )
    left = queue(connection)
    assert len(left) == 2
    assert not {each.key for each in left} & {each.key for each in first[:6]}
    version = publish(connection, now=NOON, mode="lambda", review_share=0.3)
    assert len(decisions.review_queue(connection, version, now=later(days=1))) == 8


def test_a_label_stores_how_its_item_was_selected(connection: Connection) -> None:
    answered(connection, *KEYS, wrong=tuple(KEYS[::2]), review_share=0.3)
    uniform = members(connection, 0.3)
    other = [each for each in KEYS if each not in uniform]
    say(connection, uniform[0], other[0])
    say(connection, uniform[1], source="review")
    say(connection, uniform[2], other[1], source="reviewers")
    assert bases(connection) == {
        uniform[0]: "uniform",
        other[0]: "review",
        uniform[1]: "uniform",
        uniform[2]: "given",
        other[1]: "given",
    }
    # The share is drawn from all answered items, including those that other sources labeled.
    assert uniform[2] in {each.key for each in queue(connection, most=1_000)}


def accuracy(connection: Connection) -> set[tuple[str, int, float, str]]:
    found = rows(connection, "accuracy")
    return {(each.lane, each.labels, each.share, each.basis) for each in found}


def test_labels_of_items_selected_for_their_correction_do_not_change_the_estimate(
    connection: Connection,
) -> None:
    wrong = tuple(KEYS[::4])
    answered(connection, *KEYS, wrong=wrong, review_share=0.3)
    truth = {key: B if key in wrong else A for key in KEYS}
    for each in queue(connection, most=1_000):
        say(connection, each.key, right=truth[each.key])
    uniform = members(connection, 0.3)
    right = sum(key not in wrong for key in uniform) / len(uniform)
    assert set(bases(connection).values()) == {"uniform", "review"}
    assert accuracy(connection) == {
        ("realtime", len(uniform), right, "uniform"),
        ("batch", len(uniform), 1.0, "uniform"),
    }
    say(connection, KEYS[1], right=B, source="desk")
    assert {(each[1], each[3]) for each in accuracy(connection)} == {
        (len(uniform) + 1, "given and uniform")
    }


def test_only_fields_with_a_closed_set_of_values_have_keys() -> None:
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "urgent": {"type": "boolean"}}}
    assert list_closed_fields(schema) == {"category": ["a", "b"], "urgent": [True, False]}
    assert list_closed_fields(schema, ["category", "note"]) == {"category": ["a", "b"]}


# -- at a terminal


@pytest.fixture
def asked(pool: Engine, address: str) -> Engine:
    """Queue three items for review; the payload of one contains a terminal control sequence."""
    with pool.begin() as connection:
        now = clock(connection)
        publish(connection, now=now, review_share=1.0)
        admit(connection, "k1", "k2", now=now, lane=Lane.REALTIME)
        odd = {"text": "\x1b[2J red"}
        admit(connection, "k3", now=now, lane=Lane.REALTIME, payload=odd)
        route(connection, now=now)
        save(connection, *(tried(each) for each in claim(connection, now=now)), now=now)
    return pool


def typed(
    pool: Engine, keys: str, monkeypatch: pytest.MonkeyPatch, user: str = "ada", **how: Any
) -> None:
    given: Iterator[str] = iter(keys)
    monkeypatch.setattr(commands, "read_key", lambda: next(given))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getuser", lambda: user)
    assert commands.review("letters", **how) == 0
    assert next(given, None) is None


def labels(pool: Engine) -> list[tuple[str, Any, str]]:
    query = "select i.key, l.expected, l.source from lanes.label l join lanes.item i on i.id = l.item_id order by l.id"
    with pool.begin() as connection:
        return [(each.key, each.expected, each.source) for each in connection.execute(text(query))]


def test_a_key_labels_an_item_and_another_key_undoes_the_label(
    asked: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with asked.begin() as connection:
        order = members(connection, 1.0)
    typed(asked, "x1" + "2" + "u" + "1" + "s", monkeypatch)
    assert labels(asked) == [(order[0], A, "review:ada"), (order[1], A, "review:ada")]
    told = capsys.readouterr().out
    assert f"1 of 3  letters / {order[0]}  (uniform)" in told
    assert "category:  1 a  2 b  |  s skip  u undo  q quit" in told
    assert "answered:" not in told
    assert "\x1b" not in told
    assert "\\u001b[2J red" in told
    assert told.endswith("2 of 3 items labeled\n")
    typed(asked, "q", monkeypatch, answers=True)
    told = capsys.readouterr().out
    assert "1 of 1" in told
    assert 'answered: {"category": "a"}' in told


def test_a_refused_label_is_not_counted(
    asked: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(asked, "1q", monkeypatch, user="a" * 600)
    told = capsys.readouterr().out
    assert "the label is refused as malformed" in told
    assert told.endswith("0 of 3 items labeled\n")


def test_keys_typed_ahead_are_read_in_order_and_a_closed_terminal_quits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person, terminal = os.openpty()
    with open(terminal) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        os.write(person, b"1\n2u")
        assert [commands.read_key() for _ in range(4)] == ["1", "\n", "2", "u"]
        os.close(person)
        assert commands.read_key() == "q"


def test_the_form_labels_an_item_and_shows_the_queue_with_the_allowed_values(
    asked: Engine,
) -> None:
    by: dict[str, Any] = {"workload": "letters", "who": "ada", "why": "my share"}
    with asked.begin() as connection:
        now = clock(connection)
        done = LabelItem(**by).perform(connection, now)
        assert done.message == "nothing was labeled; 3 items left to review today"
        done = LabelItem(**by, key="k1", expected=A).perform(connection, now)
        assert done.message == "letters / k1 is labeled; 2 items left to review today"
        assert done.page.startswith("# Review queue of letters\n")
        assert '- `category`: `"a"`, `"b"`' in done.page
        assert "red" not in done.page
        for key, expected, error in (
            ("k9", A, UnknownItem),
            ("k2", {"category": 4}, ActionRefused),
        ):
            with pytest.raises(error):
                LabelItem(**by, key=key, expected=expected).perform(connection, now)


@pytest.mark.usefixtures("asked")
def test_without_a_terminal_the_queue_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.review("letters") == 0
    assert "Review queue of letters: 3 items" in capsys.readouterr().out
    assert commands.review("letters", as_json=True, most=2) == 0
    found = json.loads(capsys.readouterr().out)["items"]
    assert len(found) == 2
    assert set(found[0]) == {"key", "payload", "why"}
    assert commands.review("letters", as_json=True, answers=True) == 0
    assert json.loads(capsys.readouterr().out)["items"][0]["answer"] == A


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("name", "how"), [("letters", {"most": 0}), ("letters", {"most": 1 << 63}), ("parcels", {})]
)
def test_a_review_with_an_invalid_limit_or_an_unknown_workload_is_refused(
    name: str, how: dict[str, Any]
) -> None:
    assert commands.review(name, **how) == 2


def test_a_review_of_a_workload_without_closed_fields_refers_to_the_sql_function(
    asked: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with asked.begin() as connection:
        publish(connection, now=clock(connection), compare_fields=["note"], review_share=1.0)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert commands.review("letters") == 2
    assert 'lanes.label with source "review"' in capsys.readouterr().err
