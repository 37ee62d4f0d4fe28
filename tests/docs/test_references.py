"""The references say what the code says, and leave nothing out."""

import re

from sqlalchemy import Connection

from lanes.stand.addresses import names
from tests.docs.blocks import CHECKOUT
from tests.docs.references import commands, errors, promises, settings, sizing, workload
from tests.docs.references.glossary import comments
from tests.docs.references.pages import FOLDER, pages
from tests.docs.references.words import STANDINGS, WORDS


def test_no_page_of_the_references_is_stale(connection: Connection) -> None:
    made = pages(connection)
    assert sorted(made) == sorted(page.name for page in FOLDER.glob("*.md"))
    stale = [name for name, text in made.items() if (FOLDER / name).read_text() != text]
    assert stale == [], "write them again: .venv/bin/python -m tests.docs.references"


def test_every_promise_has_an_example_that_is_broken() -> None:
    assert [
        promise for promise, judged in promises.EXAMPLES.items() if judged.verdict != "failed"
    ] == []


def test_every_word_that_is_told_says_what_it_means() -> None:
    told = {words: comments(words) | STANDINGS for words in WORDS.values()}
    assert [each for words, said in told.items() for each in words if not said.get(each.name)] == []


def test_every_setting_and_field_is_described() -> None:
    assert "|  |" not in settings.page() + workload.page()


def test_an_argument_is_told_as_its_own_command_has_it() -> None:
    section = commands.page().partition("\n## url\n")[2]
    told = next(line for line in section.splitlines() if line.startswith("| `NAME` |"))
    assert [each for each in names() if each not in told] == []


def test_every_error_says_who_raises_it_and_what_to_do() -> None:
    said = {each.__name__: errors.parts(each).keys() for _, each in errors.tree()}
    assert said == dict.fromkeys(said, {"Raised by": "", "What to do": ""}.keys())


def test_the_reasons_of_the_doors_are_all_told() -> None:
    sql = "\n".join(
        each.read_text()
        for each in (CHECKOUT / "migrations" / "schema" / "current" / "doors").glob("*.sql")
    )
    python = "\n".join(each.read_text() for each in (CHECKOUT / "lanes" / "doors").glob("*.py"))
    said = {
        *re.findall(r"array\['(\w+)'", sql),
        *re.findall(r"'(\w+_conflict)'", sql),
        *re.findall(r'Refused\("(\w+)"', python),
    }
    assert said == set(errors.OF_REFUSALS)


def test_sizes_count_archived_items_as_their_decision_measured_them() -> None:
    decision = (CHECKOUT / "docs" / "decisions" / "0025-archive.md").read_text()
    assert f"{sizing.ARCHIVED:,} bytes remain of an item" in decision
