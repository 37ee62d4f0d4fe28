"""What a benchmark says of itself: its last line, its line of JSON, and its part of the page."""

import json
import math

import pytest

from tests.benchmarks.goals import GOALS
from tests.benchmarks.page import render
from tests.benchmarks.sizes import SMALL
from tests.benchmarks.telling import tell

DOORS = {
    "submit_per_s": 6_000,
    "submit_many_per_s": math.nan,
    "client_many_per_s": 15_000,
    "vs_insert": 0.25,
    "more": 1,
}


def test_the_last_line_names_the_figures_in_their_order_and_the_one_before_says_them_as_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell("doors", DOORS, items=20)
    *missed, told, last = capsys.readouterr().out.splitlines()
    assert last == "submit_per_s=6000 submit_many_per_s=nan client_many_per_s=15000 vs_insert=0.25"
    assert json.loads(told)["figures"] == {
        "submit_per_s": 6_000,
        "submit_many_per_s": None,
        "client_many_per_s": 15_000,
        "vs_insert": 0.25,
    }
    assert [line.split()[1] for line in missed] == ["submit_many_per_s", "vs_insert"]


def test_the_page_says_what_was_kept_and_what_was_missed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell("doors", DOORS, items=20, peers={"psycopg": "3.3.9"})
    told = json.loads(capsys.readouterr().out.splitlines()[-2])
    page = render([{"day": "2026-11-25", "commit": "abc", **told}])
    assert "| submit_per_s | 6,000 | at least 5,000 | kept |" in page
    assert "| submit_many_per_s | not measured | at least 20,000 | missed |" in page
    assert "| vs_insert | 0.25 | at least 0.3 | missed |" in page
    assert "psycopg 3.3.9" in page


def test_every_benchmark_has_goals_and_sizes_for_trying() -> None:
    assert list(GOALS) == list(SMALL)
