"""The references say what the code says, and leave nothing out."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from lanes.stand.addresses import names
from tests.docs.blocks import CHECKOUT
from tests.docs.references import commands, errors, promises, settings, workload
from tests.docs.references.fields import bounds, default, kind
from tests.docs.references.glossary import comments
from tests.docs.references.markdown import of_each, table
from tests.docs.references.pages import FOLDER, pages
from tests.docs.references.words import STANDINGS, WORDS


def test_no_page_of_the_references_is_stale(connection: Connection) -> None:
    made = pages(connection)
    assert sorted(made) == sorted(page.name for page in FOLDER.glob("*.md"))
    stale = [name for name, text in made.items() if (FOLDER / name).read_text() != text]
    assert stale == [], "write them anew: .venv/bin/python -m tests.docs.references"


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


def test_what_is_said_of_a_name_that_is_gone_is_noticed() -> None:
    with pytest.raises(
        LookupError, match="settings: the code and the reference differ in gone, new"
    ):
        of_each(["kept", "new"], {"kept": "x", "gone": "y"}, what="settings")


class SampleModel(BaseModel):
    path: Path | None = None
    share: float = Field(default=0.5, ge=0, le=1)
    names: list[str] = Field(min_length=1, max_length=3)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("path", ("path", "", "none")),
        ("share", ("number", "0 to 1", "`0.5`")),
        ("names", ("list: text", "1 to 3 entries", "required")),
    ],
)
def test_a_field_is_told_in_words(field: str, expected: tuple[str, str, str]) -> None:
    of = SampleModel.model_fields[field]
    assert (kind(of.annotation), bounds(of), default(of)) == expected


def test_a_stroke_within_code_stays_one_cell_for_every_reader() -> None:
    assert table(("rule",), [("`a || b`",)]).splitlines()[-1] == "| <code>a &#124;&#124; b</code> |"
