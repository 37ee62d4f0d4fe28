"""Tests that pages quote symptoms in the words of the code, so that a search for a message finds its page."""

from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, named
from tests.docs.sentences import is_said, quotes

PAGES = [DOCS / "troubleshooting.md", DOCS / "how-to" / "migrate-traffic.md"]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_code_contains_every_symptom_that_a_page_quotes(page: Path) -> None:
    assert [each for each in quotes(page) if not is_said(each)] == []
