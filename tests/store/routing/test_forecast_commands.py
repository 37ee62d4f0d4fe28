"""`lanes quote` and `lanes dry-run`: the cost and the routes of a file's items, without sending any."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from lanes.commands import forecast as commands
from lanes.commands.forecast import Due
from lanes.commands.options import Columns
from lanes.money.budget import Budget, Period
from lanes.money.estimates import Estimates
from lanes.packing import history_chars
from lanes.routing.capacity import Limit, LimitKind
from lanes.routing.split import Split
from lanes.store.database import clock
from lanes.store.doors import items
from lanes.store.money import budgets, caching
from lanes.store.realtime import load
from lanes.store.tables import pack_size
from lanes.store.workload import accounts, workloads
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import publish, submission
from tests.store.tries import rows

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def letters(pool: Engine, address: str) -> None:
    with pool.begin() as connection:
        publish(
            connection,
            now=NOON,
            mode="lambda",
            urgent_when='payload.text.contains("now")',
            split_percent=0,
        )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write two calm letters, an urgent one, and a broken line."""
    written = tmp_path / "letters.jsonl"
    lines = [json.dumps({"text": text}) for text in ("Hello", "Where is it?", "Answer me now")]
    written.write_text("\n".join([*lines, "{broken"]))
    return written


def told(capsys: Told) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_quote_prices_each_design_and_includes_the_authoritative_pass(
    file: Path, capsys: Told
) -> None:
    assert (
        commands.quote(file, workload="letters", as_json=True, columns=Columns(field="text")) == 1
    )
    said = told(capsys)
    realtime, batch, routed = (
        Decimal(said[f"{name}_usd"]) for name in ("all_realtime", "all_batch", "as_routed")
    )
    assert said["items"] == 3
    assert 0 < batch < realtime
    assert batch < routed < batch + realtime
    assert [each["place"] for each in said["bad"]] == ["letters.jsonl:4"]
    commands.quote(file, workload="letters", columns=Columns(field="text"))
    assert "As routed now" in capsys.readouterr().out


def test_a_dry_run_lists_the_routes_of_items_and_admits_none(
    file: Path, pool: Engine, capsys: Told
) -> None:
    commands.dry_run(file, workload="letters", as_json=True, columns=Columns(field="text"))
    assert told(capsys)["routes"] == [
        {"lane": "batch", "reason": "split", "items": 2},
        {"lane": "realtime", "reason": "urgent_rule", "items": 1},
    ]
    commands.dry_run(file, workload="letters", columns=Columns(field="text"))
    shown = " ".join(capsys.readouterr().out.split())
    assert "urgent rule 1 33 % letters.jsonl:3: urgent_when holds" in shown
    with pool.connect() as connection:
        assert rows(connection, "item_status") == []


def test_a_missing_file_or_workload_or_an_unknown_file_type_is_a_usage_error(
    file: Path, tmp_path: Path, capsys: Told
) -> None:
    assert commands.quote(tmp_path / "ghost.csv", workload="letters") == 2
    assert commands.quote(file, workload="ghosts") == 2
    assert "no published version" in capsys.readouterr().err
    assert commands.quote(file.rename(tmp_path / "letters.txt"), workload="letters") == 2


@pytest.mark.slow
def test_a_quote_lists_the_cost_and_on_time_probability_of_each_lane_and_pack_size(
    pool: Engine, file: Path, capsys: Told
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, batch_pack=20, timezone="Europe/Berlin")
    commands.quote(
        file, workload="letters", due=Due(by="8h"), as_json=True, columns=Columns(field="text")
    )
    said = told(capsys)
    plans = {(each["lane"], each["pack"]): each for each in said["plans"]}
    assert list(plans) == [("realtime", 1), ("batch", 1), ("batch", 20)]
    assert plans["batch", 20]["calls"] == 1
    assert (
        Decimal(plans["batch", 20]["usd"])
        < Decimal(plans["batch", 1]["usd"])
        == Decimal(plans["realtime", 1]["usd"]) / 2
    )
    assert 0.9 < plans["batch", 1]["probability"] < 1
    assert plans["realtime", 1]["probability"] is None
    commands.quote(
        file, workload="letters", due=Due(by="10m"), as_json=True, columns=Columns(field="text")
    )
    soon = told(capsys)
    assert {(each["lane"], each["reason"]) for each in soon["routes"]} == {("realtime", "deadline")}
    assert all(each["probability"] < 0.05 for each in soon["plans"] if each["lane"] == "batch")
    commands.quote(file, workload="letters", due=Due(by="06:00"), columns=Columns(field="text"))
    assert re.search(r"By \d{4}-\d\d-\d\d 06:00 CES?T", capsys.readouterr().out)
    commands.quote(
        file,
        workload="letters",
        due=Due("2031-01-02T06:00", "Asia/Tokyo"),
        columns=Columns(field="text"),
    )
    assert "By 2031-01-02 06:00 JST" in capsys.readouterr().out


def test_a_quote_uses_the_pack_sizes_and_cache_hit_rates_in_force(
    pool: Engine, file: Path, capsys: Told
) -> None:
    long = "Sort the letter by these rules. " * 600
    with pool.begin() as connection:
        of = publish(connection, now=NOON, batch_pack=20, instructions=long)
    commands.quote(file, workload="letters", as_json=True, columns=Columns(field="text"))
    before = {(each["lane"], each["pack"]): Decimal(each["usd"]) for each in told(capsys)["plans"]}
    with pool.begin() as connection:
        caching.weigh(connection, of, Lane.REALTIME, now=NOON)
        connection.execute(text("update lanes.caching set marks = 'all', hit_rate = 1"))
        decided = {
            "workload": "letters",
            "version_id": of.id,
            "lane": Lane.BATCH,
            "model": of.spec.batch_model,
        }
        none = {
            "hurt": 20,
            "packed_n": 9,
            "packed_agreed": 1,
            "alone_n": 9,
            "alone_agreed": 9,
            "why": "packs of 20 hurt",
        }
        connection.execute(
            insert(pack_size).values(size=2, allowed=20, decided_at=NOON, **decided, **none)
        )
    commands.quote(file, workload="letters", as_json=True, columns=Columns(field="text"))
    after = {
        (each["lane"], each["pack"]): (each["calls"], Decimal(each["usd"]))
        for each in told(capsys)["plans"]
    }
    assert list(after) == [("realtime", 1), ("batch", 1), ("batch", 2)]
    assert after["batch", 1] == (3, before["batch", 1])
    assert after["batch", 2][0] == 2
    assert after["batch", 2][1] > before["batch", 20]
    assert (
        after["realtime", 1][1] < before["realtime", 1] / 5
    )  # the shared part is read from the cache in every packing


def test_a_quote_without_a_due_time_predicts_when_each_lane_will_have_answered(
    pool: Engine, file: Path, capsys: Told
) -> None:
    with pool.begin() as connection:
        now = clock(connection)
        told_at = Limit(
            LimitKind.REQUESTS, 1, 0, now + timedelta(minutes=1), now
        )  # one call a minute, for three calls
        load.exchange_limits(connection, "acme", {"claude-haiku-5-5": [told_at]}, now=now)
        accounts.note(connection, {"lanes": "acme"}, now=now)
    commands.quote(file, workload="letters", columns=Columns(field="text"))
    shown = " ".join(capsys.readouterr().out.split())
    assert re.search(r"takes about (3\.0|2\.\d) min", shown)
    assert "back by " in shown


def test_a_dry_run_applies_budgets_and_notes_items_that_would_wait(
    pool: Engine, file: Path, capsys: Told
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, split_percent=100)
        workloads.set_split(
            connection, Split("letters", None, 10_000), who="ada", why="test", now=NOON
        )
        now, none = clock(connection), Decimal(0)
        budgets.put(
            connection,
            Budget("letters", None, Period.DAY, "UTC", none, none),
            who="ada",
            why="test",
            now=now,
        )
    commands.dry_run(file, workload="letters", as_json=True, columns=Columns(field="text"))
    said = told(capsys)
    assert {(each["lane"], each["reason"]) for each in said["routes"]} == {("batch", "budget")}
    assert "some of them would wait for the next period" in said["notes"][0]


@pytest.mark.slow
def test_a_file_without_items_is_a_usage_error_and_a_long_list_of_bad_lines_is_shortened(
    tmp_path: Path, capsys: Told
) -> None:
    file = tmp_path / "letters.csv"
    for look in (commands.quote, commands.dry_run):
        file.write_text("text,label\n")
        assert look(file, workload="letters", columns=Columns(field="text")) == 2
        said = capsys.readouterr()
        assert (said.out, said.err) == ("", f'"{file}" has no items\n')
        file.write_text("text,label\n" + ",\n" * 25)
        assert look(file, workload="letters", columns=Columns(field="text")) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.splitlines()[-1] == "and 5 lines more"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"by": "soon"}, "write a time of day such as 06:00"),
        ({"by": "2020-01-01"}, "has passed"),
        ({"by": "06:00", "zone": "Mars/Olympus"}, "is not an IANA time zone"),
    ],
)
def test_an_invalid_due_time_is_a_usage_error(
    file: Path, capsys: Told, given: dict[str, Any], said: str
) -> None:
    assert (
        commands.quote(file, workload="letters", due=Due(**given), columns=Columns(field="text"))
        == 2
    )
    assert said in capsys.readouterr().err


def test_a_quote_includes_stored_history_and_history_from_the_file(
    pool: Engine, tmp_path: Path, capsys: Told
) -> None:
    with pool.begin() as connection:
        reading = publish(connection, "reading", now=NOON, history_items=2, split_percent=0)
        before = submission(
            "before",
            "reading",
            entity="ann",
            payload={"text": "x" * 100},
            occurred_at=later(hours=-9),
        )
        items.admit(connection, [before], door="client", now=NOON)
    file, own = tmp_path / "items.jsonl", len('{"text": ""}') + 100
    sent = [("ann", -3), ("ann", -2), ("ann", -1), ("ann", -10), ("bob", -1), (None, -1)]
    file.write_text(
        "\n".join(
            json.dumps(
                {
                    "payload": {"text": "y" * 100},
                    "entity": entity,
                    "occurred_at": str(later(hours=hours)),
                }
            )
            for entity, hours in sent
        )
    )
    assert commands.quote(file, workload="reading", as_json=True) == 0
    said = told(capsys)
    estimates = Estimates(NOON)
    expected = [
        estimates.of(reading, own, history_chars([own] * reads)) for reads in (1, 2, 2, 0, 0, 0)
    ]
    assert Decimal(said["all_batch_usd"]) == sum(each.batch for each in expected)
    assert Decimal(said["all_realtime_usd"]) == sum(each.realtime for each in expected)
    assert Decimal(said["plans"][-1]["usd"]) == Decimal(said["all_batch_usd"])
