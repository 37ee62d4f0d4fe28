"""Who follows a page meets each command that is broken, and none that never ends."""

from pathlib import Path

import pytest

from tests.docs.blocks import FencedBlock
from tests.docs.desk import Desk


def block(text: str, language: str = "bash") -> FencedBlock:
    """One of a page."""
    return FencedBlock("docs/planted.md", 7, language, text)


def test_what_a_block_leaves_is_found_by_the_next(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {})
    desk.run(block("echo kept > note"))
    assert desk.run(block("cat note")) == "kept\n"
    assert [each.text for each in desk.ran] == ["echo kept > note", "cat note"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("false\necho went on", "bash"),
        ("false | cat", "bash"),
        ("echo $nobody_set_this", "bash"),
        ("lanse status", "bash"),
        ("lanes no-such-command", "bash"),
        ("assert 1 > 2", "python"),
    ],
)
def test_a_command_that_is_broken_fails_its_page(tmp_path: Path, text: str, language: str) -> None:
    desk = Desk(tmp_path, {})
    with pytest.raises(AssertionError, match=r"docs/planted\.md, line 7: exit code"):
        desk.run(block(text, language))
    assert desk.ran == []


def test_a_program_that_breaks_is_seen_where_the_page_goes_on_after_a_failure(
    tmp_path: Path,
) -> None:
    with pytest.raises(AssertionError, match="a program broke"):
        Desk(tmp_path, {}).run(block("python -c 'raise ValueError' || true"))


def test_a_block_that_never_ends_is_ended_with_all_it_started(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"not done after 0\.1 s"):
        Desk(tmp_path, {}, longest_s=0.1).run(block("sleep 600 | cat"))


def test_sql_ends_at_its_first_error(tmp_path: Path, database_url: str) -> None:
    with pytest.raises(AssertionError, match="division by zero"):
        Desk(tmp_path, {"LANES_DATABASE_URL": database_url}).run(
            block("select 1 / 0; select 1;", "sql")
        )
