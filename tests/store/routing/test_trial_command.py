"""`lanes dry-run --with FILE`: a changed definition applied to received traffic before it is published."""

import json
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from lanes.commands import forecast as commands
from lanes.commands.options import Columns
from lanes.store.database import clock
from lanes.store.doors import emptying
from lanes.store.routing import traffic
from lanes.workload.definition_file import render_definition
from tests.examples import admit, publish, route, spec
from tests.store.tries import rows

Told = pytest.CaptureFixture[str]
URGENT = 'payload.text.contains("now")'


@pytest.fixture
def now(pool: Engine, address: str) -> datetime:
    """Route sixty recent letters, some with a due time and one without text, and as many items of another workload."""
    with pool.begin() as connection:
        at = clock(connection)
        publish(connection, now=at, urgent_when=URGENT, split_percent=0)
        publish(connection, "tickets", now=at)
        for hours in range(60, 0, -1):
            came = at - timedelta(hours=hours)
            due = came + timedelta(minutes=100) if hours % 3 == 0 else None
            said = (
                {"text": "Answer me now" if hours % 10 == 0 else "Where is it?"}
                if hours != 7
                else {"note": "nothing"}
            )
            admit(connection, f"k{hours}", now=came, payload=said, due_at=due)
            admit(connection, f"k{hours}", now=came, workload="tickets")
        route(connection, now=at)
    return at


def changed(folder: Path, name: str = "letters", **fields: Any) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(render_definition(name, spec(**{"urgent_when": URGENT, **fields}), heading=[]))
    return file


def tried(capsys: Told, file: Path, *, since: str = "7d", **given: Any) -> dict[str, Any]:
    assert commands.dry_run(with_=file, since=since, as_json=True, **given) == 0
    return json.loads(capsys.readouterr().out)


def test_a_trial_lists_moved_items_by_lane_and_reason_with_the_cost_of_both_definitions(
    now: datetime, tmp_path: Path, capsys: Told
) -> None:
    said = tried(capsys, changed(tmp_path, value_usd=0.01, half_life_s=3600))
    assert (said["workload"], said["items"]) == ("letters", 60)
    moves = {
        (was["reason"], is_["lane"], is_["reason"]): number
        for was, is_, number in map(dict.values, said["routes"])
    }
    assert sum(moves.values()) == 60
    assert moves["urgent_rule", "realtime", "urgent_rule"] == 6
    assert said["moved"] == moves["split", "realtime", "value"] > 0
    assert float(said["with_file"]["usd"]) > float(said["in_force"]["usd"]) > 0
    assert [each["field"] for each in said["differences"]] == ["value_usd"]
    assert said["examples"][0]["explanation"].startswith("waiting loses about $")


def test_a_lower_confidence_costs_less_and_raises_the_number_of_expected_late_items(
    now: datetime, tmp_path: Path, capsys: Told
) -> None:
    said = tried(capsys, changed(tmp_path, confidence=0.5))
    assert said["due"] == 20
    assert said["in_force"]["late"] == 0.0
    assert 0 < said["with_file"]["late"] < 20
    assert float(said["with_file"]["usd"]) < float(said["in_force"]["usd"])


def test_a_rule_that_fails_on_some_payloads_is_counted_with_its_first_error(
    now: datetime, tmp_path: Path, capsys: Told
) -> None:
    said = tried(capsys, changed(tmp_path, batch_when="payload.pages > 3"))
    assert said["in_force"]["rule_failures"] == 1
    assert said["in_force"]["first_failure"].startswith(f"k7: `{URGENT}`")
    assert said["with_file"]["rule_failures"] == 60
    assert any(
        "a rule failed on 60 items, first on k1: `payload.pages > 3`" in note
        for note in said["notes"]
    )
    assert said["items"] == 60


def test_a_trial_uses_only_items_since_the_given_time_and_at_most_the_given_number(
    now: datetime, tmp_path: Path, capsys: Told
) -> None:
    file = changed(tmp_path)
    assert tried(capsys, file, since="10h")["items"] in (9, 10)
    few = tried(capsys, file, most=25)
    assert few["items"] == 25
    assert "only the newest 25 items of the period; --most takes more" in few["notes"]
    assert "nothing differs from version 1, which is in force" in few["notes"]


def test_a_trial_leaves_out_erased_items_and_reports_their_number(
    now: datetime, pool: Engine, tmp_path: Path, capsys: Told
) -> None:
    with pool.begin() as connection:
        emptying.forget(connection, "letters", "k3", now=now)
    said = tried(capsys, changed(tmp_path))
    assert (said["items"], said["left_out"]) == (59, 1)


def test_a_trial_writes_nothing_to_the_database(
    now: datetime, pool: Engine, tmp_path: Path, capsys: Told
) -> None:
    def everything() -> list[list[Any]]:
        with pool.begin() as connection:
            return [rows(connection, table) for table in ("version", "route", "work", "item")]

    before = everything()
    tried(capsys, changed(tmp_path, batch_when="age_s > 5.0", mode="lambda"))
    assert everything() == before


def test_a_trial_prints_the_moves_the_costs_and_the_expected_late_items(
    now: datetime, tmp_path: Path, capsys: Told
) -> None:
    assert commands.dry_run(with_=changed(tmp_path, value_usd=0.01), since="7d") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "60 items of letters in 7 days: " in shown
    assert "batch, split real-time, value" in shown.lower()
    assert "Expected late, of 20 items due" in shown
    for figure in (
        "Items",
        "Share",
        "Cost as routed",
        "Expected late",
        "Items on which a rule failed",
    ):
        assert f"{figure}: " in shown


@pytest.mark.parametrize(
    ("file", "given", "code", "said"),
    [
        (
            "name: letters\nbatch_when: 'payload.'\ninstructions: x\noutput_schema: {type: object}",
            {},
            1,
            "batch_when",
        ),
        ("name: letters\n  broken: [", {}, 1, "cannot be published, and so not be tried"),
        ("", {}, 1, "a workload is a mapping"),
        (None, {}, 2, "there is no file"),
        ("letters", {"workload": "tickets"}, 2, 'defines the workload "letters", not "tickets"'),
        ("ghosts", {}, 2, 'workload "ghosts" has no published version'),
        ("letters", {"since": "soon"}, 2, '--since "soon" is no moment'),
        ("letters", {"since": "1s"}, 2, 'workload "letters" has received no items since'),
        ("letters", {"most": 0}, 2, "--most 0 is none"),
        (
            "letters",
            {"columns": Columns(field="text", consumer="desk")},
            2,
            "--field, --consumer: that is about the lines of a file",
        ),
    ],
)
def test_an_invalid_trial_prints_the_reason(
    now: datetime,
    tmp_path: Path,
    capsys: Told,
    file: str | None,
    given: dict[str, Any],
    code: int,
    said: str,
) -> None:
    path = tmp_path / "wanted.yaml"
    if file in ("letters", "ghosts"):
        path = changed(tmp_path, file)
    elif file is not None:
        path.write_text(file)
    assert commands.dry_run(with_=path, **{"since": "7d", **given}) == code
    assert said in capsys.readouterr().err


def test_a_dry_run_requires_either_a_file_of_items_or_a_changed_definition(
    address: str, tmp_path: Path, capsys: Told
) -> None:
    file = tmp_path / "a.jsonl"
    whole = partial(commands.dry_run, file, workload="letters", with_=file)
    asked = (partial(commands.dry_run), partial(commands.dry_run, file), whole)
    for each in asked:
        assert each() == 2
        assert "say what to look at" in capsys.readouterr().err
    assert commands.dry_run(file, workload="letters", since="7d") == 2
    assert capsys.readouterr().err == "--since: that is about what came, and belongs to --with\n"


MANY = """
insert into lanes.item (workload, key, payload, content_hash, occurred_at, received_at, source)
select case when n % 25 = 0 then 'letters' else 'tickets' end, 'm' || n, '{"text": "x"}', '', :now, :now, 'sql'
  from generate_series(1, 1200) n
"""


def test_traffic_is_read_in_steps_newest_first(now: datetime, pool: Engine) -> None:
    with pool.begin() as connection:  # every twenty-fifth item is a letter
        connection.execute(text(MANY), {"now": now})
    seen = list(
        traffic.stream_received(
            pool, "letters", since=now - timedelta(days=7), most=1_000, read=True
        )
    )
    keys = [each.key for step in seen for each in step.items]
    assert keys == [*(f"m{n}" for n in range(1200, 0, -25)), *(f"k{n}" for n in range(1, 61))]
    assert [len(step.items) for step in seen] == [20, 20, 68]


@pytest.mark.slow
def test_a_trial_adds_the_cost_of_history_only_to_the_definition_that_reads_it(
    pool: Engine, now: datetime, tmp_path: Path, capsys: Told
) -> None:
    with pool.begin() as connection:
        publish(connection, "reading", now=now, split_percent=0)
        for hours in (3, 2, 1):
            came = now - timedelta(hours=hours)
            admit(connection, f"k{hours}", now=came, workload="reading", entity="ann")
        route(connection, now=now)
    costs = [
        float(
            tried(capsys, changed(tmp_path, "reading", urgent_when="", history_items=most))[
                "with_file"
            ]["usd"]
        )
        for most in (0, 1, 2)
    ]
    assert costs[0] < costs[1] < costs[2]
    (cheaper,) = {
        float(tried(capsys, changed(tmp_path, "reading", urgent_when=""))["in_force"]["usd"])
    }
    assert cheaper == costs[0]
