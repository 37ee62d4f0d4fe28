"""The sets of work states have one definition: lists that SQL files write out are among them, and Python writes out none."""

import re
from pathlib import Path

import pytest

from lanes import words
from lanes.store.states import listed
from lanes.words import WorkState

NAMED = [
    set(each)
    for each in (
        words.OPEN_WORK,
        words.LIVE_CLAIM,
        words.OUTSIDE_BATCHES,
        words.UNCLAIMED,
        words.FINISHED_WORK,
    )
]
LIST = re.compile(r"\(((?:'\w+'(?:, )?){2,})\)")
ROOT = Path(__file__).parents[2]


def lists(path: Path) -> list[set[str]]:
    """Return the lists of work states that a file writes out."""
    found = (set(re.findall(r"\w+", each)) for each in LIST.findall(path.read_text()))
    states = {str(each) for each in WorkState}
    return [each for each in found if each <= states and each & set(words.OPEN_WORK)]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "migrations/schema/current").rglob("*.sql")), ids=lambda path: path.stem
)
def test_a_list_of_states_in_an_sql_file_is_a_named_set(path: Path) -> None:
    assert [each for each in lists(path) if each not in NAMED] == []


def test_no_statement_in_python_writes_out_a_set_of_states() -> None:
    of_python = [*(ROOT / "lanes").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]
    tables = ROOT / "lanes/store/tables"
    assert [path for path in of_python if tables not in path.parents and lists(path)] == []


def test_every_state_is_open_or_finished() -> None:
    assert {*words.OPEN_WORK} ^ {*words.FINISHED_WORK} == set(WorkState)
    assert listed(words.LIVE_CLAIM) == "('claimed', 'submitted')"
