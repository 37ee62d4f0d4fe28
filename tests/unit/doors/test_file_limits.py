"""What a file may cost to read is limited, and no line that is refused harms its neighbours."""

from pathlib import Path

import pytest

from lanes.doors.filedoor import LONGEST_LINE, BadLine
from tests.unit.doors.test_filedoor import TEXT_CELL, bad, payloads, read


def test_a_header_of_thousands_of_columns_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    header = ",".join(f"column {number}" for number in range(20_000))
    with pytest.raises(
        ValueError,
        match="has 20,000 columns, and at most 1,000 are read; leave out columns, or write JSONL",
    ):
        read(tmp_path / "wide.csv", header + "\n")
    with pytest.raises(ValueError, match=r"wide\.csv"):
        read(tmp_path / "wide.csv", header + "\n", TEXT_CELL)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_line_that_is_too_long_is_refused_and_its_neighbours_are_read(
    tmp_path: Path, name: str
) -> None:
    first, last = (
        ('{"text": "one"}', '{"text": "two"}') if name == "a.jsonl" else ("text\none", "two")
    )
    told = read(tmp_path / name, f"{first}\n{'x' * 2 * LONGEST_LINE}x\n{last}\n", TEXT_CELL)
    assert payloads(told) == [{"text": "one"}, {"text": "two"}]
    (long,) = [each for each in told if isinstance(each, BadLine)]
    assert (long.reason, long.detail) == ("broken_line", "the line has more than 16 MiB; divide it")
    assert len(long.content) < 5_000


@pytest.mark.slow
def test_a_quoted_record_ends_with_the_longest_line(tmp_path: Path) -> None:
    part = "x" * (LONGEST_LINE * 6 // 10) + "\n"
    told = read(tmp_path / "a.csv", 'text\n"' + part * 3 + '"\nlast\n', TEXT_CELL)
    assert payloads(told)[-1] == {"text": "last"}
    assert bad(told)[0] == ("a.csv:2", "broken_line")
