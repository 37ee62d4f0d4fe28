"""Tests that the references agree with the code and are complete."""

import re

from sqlalchemy import Connection

from lanes.stand.addresses import names
from tests.benchmarks import page as benchmarks
from tests.docs.blocks import CHECKOUT
from tests.docs.references import commands, errors, promises, settings, sizing, workload
from tests.docs.references.glossary import comments
from tests.docs.references.pages import FOLDER, pages
from tests.docs.references.words import STANDINGS, WORDS


def test_every_generated_page_is_up_to_date(connection: Connection) -> None:
    made = pages(connection)
    assert sorted(made) == sorted([*FOLDER.glob("*.md"), benchmarks.FILE])
    stale = [file.name for file, text in made.items() if file.read_text() != text]
    assert stale == [], "write them again: .venv/bin/python -m tests.docs.references"


def test_every_example_of_a_promise_has_the_verdict_failed() -> None:
    assert [
        promise for promise, judged in promises.EXAMPLES.items() if judged.verdict != "failed"
    ] == []


def test_every_member_of_a_documented_enumeration_has_a_meaning() -> None:
    told = {words: comments(words) | STANDINGS for words in WORDS.values()}
    assert [each for words, said in told.items() for each in words if not said.get(each.name)] == []


def test_every_setting_and_field_has_a_description() -> None:
    assert "|  |" not in settings.page() + workload.page()


def test_the_name_argument_of_lanes_url_lists_all_address_names() -> None:
    section = commands.page().partition("\n## url\n")[2]
    told = next(line for line in section.splitlines() if line.startswith("| `NAME` |"))
    assert [each for each in names() if each not in told] == []


def test_every_error_names_who_raises_it_and_what_to_do() -> None:
    said = {each.__name__: errors.parts(each).keys() for _, each in errors.tree()}
    assert said == dict.fromkeys(said, {"Raised by": "", "What to do": ""}.keys())


def test_the_reference_lists_exactly_the_refusal_reasons_of_the_doors() -> None:
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


def test_the_size_of_an_archived_item_agrees_with_its_decision_record() -> None:
    decision = (CHECKOUT / "docs" / "decisions" / "0025-archive.md").read_text()
    assert f"{sizing.ARCHIVED:,} bytes remain of an item" in decision
