"""Cells for spreadsheets: they show the text of an item or a model, and never run it as a formula."""

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.report.listing import cell, harmless
from tests.conftest import NOON


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+49 228", "'+49 228"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("  =1", "'  =1"),
        ("\t=1", "' =1"),
        ("\ufeff=1", "'\ufeff=1"),
        ("\u200b@x", "'\u200b@x"),
        ("a\n=cmd|' /C calc'!A0", "a\n'=cmd|' /C calc'!A0"),
        ("a\r\n-2+3", "a\n'-2+3"),
        ("a\r=1", "a\n'=1"),
        ("a; =1", "a;' =1"),
        ("x;=1;=2", "x;'=1;'=2"),
        ("=1;=2", "'=1;'=2"),
    ],
)
def test_text_that_a_spreadsheet_would_read_as_a_formula_gets_an_apostrophe(
    text: str, shown: str
) -> None:
    assert harmless(text) == shown


@pytest.mark.parametrize(
    "text", ["", "a", "a = b", "1-2", "a\nb", "me@example.org", "'=1", "Grüße 😀"]
)
def test_other_text_is_not_changed(text: str) -> None:
    assert harmless(text) == text


def test_control_characters_become_blanks() -> None:
    assert harmless("a\x1b[31mb\x00\x07\x9bc\td") == "a [31mb   c d"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (-5, -5),
        (0.25, 0.25),
        (Decimal("0.0000001"), "0.0000001"),
        (NOON, "2026-11-24T12:00:00+00:00"),
        (["=1", "ä"], '["=1", "ä"]'),
        ({"a": 1}, '{"a": 1}'),
    ],
)
def test_each_type_of_value_has_its_cell_format(value: Any, shown: Any) -> None:
    assert cell(value) == shown
    assert type(cell(value)) is type(shown)


@given(st.text(alphabet=st.sampled_from("=+-@;,\n\r\t\"' a\x00\u200b\ufeff\uff1d")))
def test_no_part_of_a_cell_split_at_semicolons_or_line_ends_starts_a_formula(text: str) -> None:
    for part in re.split("[;\n]", harmless(text)):
        assert part.strip(" \u200b\ufeff")[:1] not in list("=+-@\uff1d")
