"""The pictures in docs/ are few, small and shown."""

import re

from tests.unit.modules import ROOT

FOLDER = ROOT / "docs/screenshots"
MOST, MOST_BYTES = 6, 150_000
SHOWN = re.compile(r"!\[[^]]+\]\((?:\.\./)*screenshots/([\w-]+\.png)\)")


def test_there_are_few_pictures_and_each_is_small() -> None:
    pictures = list(FOLDER.iterdir())
    assert 0 < len(pictures) <= MOST
    for each in pictures:
        assert each.read_bytes().startswith(b"\x89PNG"), each.name
        assert each.stat().st_size <= MOST_BYTES, each.name


def test_every_picture_is_shown_on_a_page_and_every_picture_shown_is_there() -> None:
    shown = {
        name for page in (ROOT / "docs").rglob("*.md") for name in SHOWN.findall(page.read_text())
    }
    assert shown == {each.name for each in FOLDER.iterdir()}
