"""What the pages point at is there: links and their anchors, files, commands, targets, variables, relations, the navigation."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.blocks import CHECKOUT, DOCS, around, docs, named
from tests.docs.links import broken, codes, links, missing
from tests.docs.typed import commands, refused

PAGES = [*docs(), *around()]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert {to: why for to in links(page) if (why := broken(page, to))} == {}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_it_names_exists(page: Path) -> None:
    assert missing(page) == []


def test_the_command_line_takes_every_command_that_is_spoken_of() -> None:
    typed = {
        (named(page), command)
        for page in PAGES
        for code in codes(page)
        for command in commands(code)
    }
    assert {"explain", "results", "up"} <= {command.split()[0] for _, command in typed}
    assert {each: why for each in typed if (why := refused(each[1], whole=False))} == {}


def test_every_page_is_in_the_navigation_and_each_of_its_entries_is_a_page() -> None:
    listed = list(_files(yaml.safe_load((CHECKOUT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(listed) == [page.relative_to(DOCS).as_posix() for page in docs()]


@pytest.mark.parametrize(
    "page", [page for page in docs() if "decisions" not in page.parts], ids=named
)
def test_no_table_shows_a_backslash_within_code(page: Path) -> None:
    assert [code for code in codes(page) if "\\|" in code] == []


def _files(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [
        file for each in (nav.values() if isinstance(nav, dict) else nav) for file in _files(each)
    ]
