"""`lanes overhead` and its form: amounts are set by date, listed, or refused with a sentence; the advice uses them."""

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from lanes.commands import spending
from lanes.commands.actions import SetOverhead
from lanes.commands.advise import advise
from lanes.commands.forecast import quote
from lanes.commands.options import Columns
from lanes.commands.spending import OverheadOptions
from lanes.errors import ActionRefused, UnknownWorkload
from lanes.money.overhead import Overhead, OverheadKind
from lanes.store import asking
from lanes.store.money import overheads
from lanes.store.report import snapshot
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import rows

Told = pytest.CaptureFixture[str]
ENGINEERING = OverheadKind.ENGINEERING
TODAY = NOON.date()


def put(
    connection: Connection, usd: int, *, workload: str | None = "letters", from_date: date = TODAY
) -> str:
    of = Overhead(workload, Lane.BATCH, ENGINEERING, Decimal(usd), from_date)
    return overheads.put(connection, of, who="ada", why="because", now=NOON)


def taken(connection: Connection, *names: str) -> list[float]:
    found = overheads.read_each(asking.through(connection), names, now=NOON)
    return [found[name].engineering_usd(Lane.BATCH) for name in names]


def test_overheads_are_appended_and_the_one_in_force_is_read(connection: Connection) -> None:
    for name in ("letters", "others"):
        publish(connection, name, now=NOON)
    assert taken(connection, "letters", "others") == [400, 400]
    assert put(connection, 100, workload=None) == (
        f"every workload without its own, batch, engineering: $100.00 a month from {TODAY} on"
    )
    put(connection, 50, from_date=TODAY - timedelta(days=3))
    assert taken(connection, "letters", "others") == [50, 100]
    put(connection, 0)
    assert taken(connection, "letters", "others") == [0, 100]
    assert [each.monthly_usd for each in rows(connection, "overhead")] == [100, 50, 0]


@pytest.mark.slow
def test_the_report_uses_the_overheads(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", now=NOON)
    route(connection, now=NOON)
    put(connection, 77)
    (advice,) = snapshot.take(connection, since=NOON, now=later(hours=1)).advice
    assert advice.overheads.batch_engineering_usd == 77


def act(connection: Connection, **given: Any) -> str:
    """Fill in the form, perform it, and return its message."""
    filled: dict[str, Any] = {"workload": "letters", "lane": "batch", "kind": "engineering"}
    filled |= {"who": "ada", "why": "because", **given}
    return SetOverhead(**filled).perform(connection, NOON).message


def test_the_form_sets_an_overhead_and_a_star_means_every_workload(connection: Connection) -> None:
    publish(connection, now=NOON)
    said = act(connection, monthly_usd=12.5)
    assert "letters, batch, engineering: $12.50 a month" in said
    act(connection, workload="*", lane="realtime", monthly_usd=3)
    stored = [
        (each.workload, each.lane, each.monthly_usd, each.from_date, each.who)
        for each in rows(connection, "overhead")
    ]
    assert stored == [
        ("letters", "batch", Decimal("12.5"), TODAY, "ada"),
        (None, "realtime", 3, TODAY, "ada"),
    ]


@pytest.mark.parametrize(
    ("given", "error", "why"),
    [
        ({}, ValidationError, "monthly_usd"),
        ({"monthly_usd": -1}, ValidationError, "greater than or equal to 0"),
        (
            {"monthly_usd": 1, "from_date": TODAY + timedelta(days=1)},
            ActionRefused,
            "is after today",
        ),
        ({"workload": "none", "monthly_usd": 1}, UnknownWorkload, 'no workload "none"'),
    ],
)
def test_the_form_refuses_invalid_input(
    connection: Connection, given: dict[str, Any], error: type[Exception], why: str
) -> None:
    publish(connection, now=NOON)
    with pytest.raises(error, match=why):
        act(connection, **given)
    assert rows(connection, "overhead") == []


def overhead(do: Literal["list", "set"] = "list", workload: str | None = None, **given: Any) -> int:
    """Run the command with these options."""
    told = {name: given.pop(name) for name in ("why", "as_json") if name in given}
    return spending.overhead(do, workload, of=OverheadOptions(**given), **told)


@pytest.fixture
def letters(pool: Engine, address: str) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)


@pytest.mark.slow
def test_the_command_sets_and_lists_overheads(letters: None, capsys: Told) -> None:
    assert overhead() == 0
    assert (
        "Where nothing is set, this is assumed a month: realtime infrastructure $20.00;"
        in capsys.readouterr().out
    )
    given: dict[str, Any] = {"lane": Lane.BATCH, "kind": ENGINEERING, "usd": Decimal(250)}
    assert overhead("set", "letters", **given, from_date="2026-01-01", why="two hours less") == 0
    assert (
        capsys.readouterr().out
        == "letters, batch, engineering: $250.00 a month from 2026-01-01 on\n"
    )
    assert overhead("set", **given, from_date="2026-01-02", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["overhead"]["workload"] is None
    assert overhead("list", "letters") == 0
    assert "two hours less" in capsys.readouterr().out
    assert overhead("list", as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert [
        (each["workload"], each["monthly_usd"], each["from_date"]) for each in told["overheads"]
    ] == [("letters", 250, "2026-01-01"), (None, 250, "2026-01-02")]
    assert len(told["assumed"]) == 4
    assert advise("letters", as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["overheads"]["batch_engineering_usd"], told["pattern"], told["savings"]) == (
        250,
        None,
        None,
    )


@pytest.mark.slow
def test_a_quote_names_the_monthly_overheads_of_the_lanes(
    letters: None, pool: Engine, tmp_path: Path, capsys: Told
) -> None:
    with pool.begin() as connection:
        put(connection, 250)
    file = tmp_path / "letters.jsonl"
    file.write_text('{"text": "Hello"}')
    assert quote(file, workload="letters", columns=Columns(field="text")) == 0
    said = "batch $300.00: $50.00 infrastructure (assumed), $250.00 engineering."
    assert said in " ".join(capsys.readouterr().out.split())
    assert quote(file, workload="letters", as_json=True, columns=Columns(field="text")) == 0
    assert json.loads(capsys.readouterr().out)["overheads"]["batch_engineering_usd"] == 250


@pytest.mark.parametrize(
    ("given", "code", "why"),
    [
        ({"do": "set"}, 2, "say --lane, --kind, --usd"),
        ({"do": "list", "usd": Decimal(1)}, 2, "only `lanes overhead set` takes --usd"),
        ({"do": "list", "workload": "none"}, 2, 'no workload "none"'),
        ({"do": "set", "workload": "none", "usd": Decimal(1)}, 2, 'no workload "none"'),
        ({"do": "set", "usd": Decimal(-1)}, 1, "0 to 1,000,000,000"),
        ({"do": "set", "usd": Decimal(1), "from_date": "tomorrow"}, 2, "is no day such as"),
        ({"do": "set", "usd": Decimal(1), "from_date": "9999-01-01"}, 1, "is after today"),
    ],
)
def test_invalid_options_are_refused_with_a_sentence(
    letters: None, given: dict[str, Any], code: int, why: str, capsys: Told
) -> None:
    which: dict[str, Any] = (
        {"lane": Lane.BATCH, "kind": ENGINEERING} if "usd" in given and given["do"] == "set" else {}
    )
    assert overhead(**which, **given) == code
    assert why in capsys.readouterr().err
