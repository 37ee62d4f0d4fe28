"""The documented architecture is true: paths exist, drawn chapters follow the contract's order, files are short."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.unit.modules import ROOMS, ROOT, modules

DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
PAGES = [
    ROOT / name
    for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "docs/decisions/README.md")
] + DECISIONS
FOLDER = r"(?:flows|tasks|blocks|lanes|migrations|packages|tests|docs|\.ci)/[\w./-]*[\w/]"
FILE = r"[\w][\w./-]*\.(?:py|md|sql|svg|toml)"
PATH = re.compile(rf"(?<![\w./-])(?:{FOLDER}|{FILE})(?![\w])")
PART_OF_A_PAGE = ("**Context.**", "**Options**", "**Choice.**", "**What it costs**")
CLASS = re.compile(r"^ *class (\w+)[:(]", re.MULTILINE)
A_SCREEN = 40  # lines
LONGEST = 450  # lines of a file that needs no reason
REASON = "one file because"


def paths(text: str) -> set[str]:
    """Return the paths that a text names: below one of our folders, or files by their extension."""
    return set(PATH.findall(text))


def says_why(module: str) -> bool:
    """Return whether the first sentence of the module's docstring says why it is one file."""
    said = ast.get_docstring(ast.parse(module)) or ""
    return REASON in " ".join(re.split(r"(?<=\.)\s", said, maxsplit=1)[0].split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = paths(page.read_text())
    assert named
    assert {
        each for each in named if not (ROOT / each).exists() and not (page.parent / each).exists()
    } == set()


@pytest.mark.slow
def test_no_file_is_long_without_a_reason() -> None:
    ours = modules((*ROOMS, "migrations", "packages", "tests"))
    long = {path: lines for path in ours if (lines := len(path.read_text().splitlines())) > LONGEST}
    assert {
        str(path.relative_to(ROOT)): lines
        for path, lines in long.items()
        if not says_why(path.read_text())
    } == {}


def test_a_class_name_occurs_once() -> None:
    names = Counter(
        name
        for path in modules((*ROOMS, "migrations", "packages", "tests"))
        for name in CLASS.findall(path.read_text())
    )
    assert {name for name, count in names.items() if count > 1} == set()


def test_the_drawing_of_the_chapters_follows_the_order_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(each["layers"] for each in contracts if each.get("containers") == ["lanes"])
    order = [name.strip() for layer in layers for name in layer.split("|")]
    texts = ElementTree.parse(ROOT / "docs/chapters.svg").iter("{http://www.w3.org/2000/svg}text")
    drawn = [str(each.text) for each in texts if each.get("class") == "chapter"]
    assert drawn == sorted(drawn, key=order.index)
    chapters = {path.parent.name for path in (ROOT / "lanes").glob("*/__init__.py")}
    assert chapters <= set(drawn)


def test_decisions_are_numbered_and_listed() -> None:
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    assert DECISIONS
    assert paths((ROOT / "docs/decisions/README.md").read_text()) >= {
        page.name for page in DECISIONS
    }


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_fits_a_screen_and_says_what_it_costs(page: Path) -> None:
    text = page.read_text()
    assert len(text.splitlines()) <= A_SCREEN
    assert text.startswith(f"# {page.name[:4]} ")
    found = [text.find(part) for part in PART_OF_A_PAGE]
    assert min(found) > 0
    assert found == sorted(found)
    assert text.count("\n- ", found[-1]) >= 2  # a choice without a cost is not a choice
