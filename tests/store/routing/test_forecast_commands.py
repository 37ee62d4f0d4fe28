"""`lanes quote` and `lanes dry-run`: what a file would cost and where it would go, with nothing sent."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from lanes.commands import forecast as commands
from tests.conftest import NOON
from tests.examples import publish
from tests.store.tries import rows

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def letters(pool: Engine, address: str) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, mode="lambda", urgent_when='payload.text.contains("now")', split_percent=0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two calm letters, an urgent one, and a broken line."""
    written = tmp_path / "letters.jsonl"
    lines = [json.dumps({"text": text}) for text in ("Hello", "Where is it?", "Answer me now")]
    written.write_text("\n".join([*lines, "{broken"]))
    return written


def told(capsys: Told) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_quote_names_each_design_and_counts_the_authoritative_pass(file: Path, capsys: Told) -> None:
    assert commands.quote(file, workload="letters", field="text", as_json=True) == 1
    said = told(capsys)
    realtime, batch, routed = (Decimal(said[f"{name}_usd"]) for name in ("all_realtime", "all_batch", "as_routed"))
    assert said["items"] == 3
    assert 0 < batch < realtime
    assert batch < routed < batch + realtime
    assert [each["place"] for each in said["bad"]] == ["letters.jsonl:4"]
    commands.quote(file, workload="letters", field="text")
    assert "As routed now" in capsys.readouterr().out


def test_a_dry_run_shows_where_items_would_go_and_sends_none(file: Path, pool: Engine, capsys: Told) -> None:
    commands.dry_run(file, workload="letters", field="text", as_json=True)
    assert told(capsys)["routes"] == [
        {"lane": "batch", "reason": "split", "items": 2}, {"lane": "realtime", "reason": "urgent_rule", "items": 1},
    ]  # fmt: skip
    commands.dry_run(file, workload="letters", field="text")
    shown = " ".join(capsys.readouterr().out.split())
    assert "urgent rule 1 33 % letters.jsonl:3: urgent_when holds" in shown
    with pool.connect() as connection:
        assert rows(connection, "item_status") == []


def test_what_cannot_be_looked_at_is_a_usage_error(file: Path, tmp_path: Path, capsys: Told) -> None:
    assert commands.quote(tmp_path / "ghost.csv", workload="letters") == 2
    assert commands.quote(file, workload="ghosts") == 2
    assert "no published version" in capsys.readouterr().err
    assert commands.quote(file.rename(tmp_path / "letters.txt"), workload="letters") == 2
