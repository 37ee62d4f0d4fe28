"""Tests that the targets on pages exist: links, anchors, files, commands, make targets, variables, relations, navigation."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.blocks import CHECKOUT, DOCS, around, docs, named
from tests.docs.links import broken, codes, links, missing
from tests.docs.typed import commands, refused

PAGES = [*docs(), *around()]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_has_an_existing_target(page: Path) -> None:
    assert {to: why for to in links(page) if (why := broken(page, to))} == {}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_name_in_code_style_exists(page: Path) -> None:
    assert missing(page) == []


def test_the_command_line_accepts_every_command_that_a_text_mentions() -> None:
    typed = {
        (named(page), command)
        for page in PAGES
        for code in codes(page)
        for command in commands(code)
    }
    assert {"explain", "results", "up"} <= {command.split()[0] for _, command in typed}
    assert {each: why for each in typed if (why := refused(each[1], whole=False))} == {}


def test_the_navigation_lists_exactly_the_pages_of_the_site() -> None:
    listed = list(_files(yaml.safe_load((CHECKOUT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(listed) == [page.relative_to(DOCS).as_posix() for page in docs()]


@pytest.mark.parametrize(
    "page", [page for page in docs() if "decisions" not in page.parts], ids=named
)
def test_inline_code_contains_no_escaped_pipe(page: Path) -> None:
    assert [code for code in codes(page) if "\\|" in code] == []


def _files(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [
        file for each in (nav.values() if isinstance(nav, dict) else nav) for file in _files(each)
    ]
