"""The symptoms that pages quote are in the words of the code, so that a search for a message finds its page."""

from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, named
from tests.docs.sentences import is_said, quotes

PAGES = [DOCS / "troubleshooting.md", DOCS / "how-to" / "migrate-traffic.md"]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_a_page_quotes_is_said(page: Path) -> None:
    assert [each for each in quotes(page) if not is_said(each)] == []
