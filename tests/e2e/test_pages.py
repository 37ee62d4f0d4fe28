"""Every block of the pages, run from top to bottom as a reader would; a test of its own looks further at the tutorial."""

from pathlib import Path

import pytest

from tests.docs.blocks import CHECKOUT, blocks, docs, named
from tests.docs.desk import Desk
from tests.docs.references.events import out
from tests.running_stand import RunningStand

ELSEWHERE = {"docs/tutorial.md"}
PAGES = [named(page) for page in docs() if named(page) not in ELSEWHERE and any(each.is_run for each in blocks(page))]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES)
def test_whoever_follows_a_page_meets_no_error(stand: RunningStand, tmp_path: Path, page: str) -> None:
    desk = Desk(tmp_path, stand.environment)
    for block in blocks(CHECKOUT / page):
        if block.is_run:
            desk.run(block)


def test_what_prefect_was_told_says_what_the_reference_says(stand: RunningStand) -> None:
    documented = out()
    asked = {"filter": {"event": {"prefix": ["lanes."]}}, "limit": 50}
    found = stand.prefect.post("events/filter", json=asked).raise_for_status().json()["events"]
    told = {each["event"]: set(each["payload"]) for each in found}
    told = {name: says for name, says in told.items() if name not in ("lanes.item.arrived", "lanes.item.amended")}
    assert set(told) <= set(documented)
    assert {name: says - set(documented[name].says) for name, says in told.items()} == {name: set() for name in told}
