"""Every block of the documentation pages, run from top to bottom as a reader would.

The tutorial and the README have stricter tests of their own.
"""

from collections import defaultdict
from pathlib import Path

import pytest

from tests.docs.blocks import CHECKOUT, around, docs, named, to_run
from tests.docs.desk import Desk
from tests.docs.references.events import out
from tests.running_stand import RunningStand
from tests.waiting import until

pytestmark = pytest.mark.slow

ELSEWHERE = {"docs/tutorial.md", "README.md"}
PAGES = [
    named(page) for page in [*docs(), *around()] if named(page) not in ELSEWHERE and to_run(page)
]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs_without_an_error(
    stand: RunningStand, tmp_path: Path, page: str
) -> None:
    desk = Desk(tmp_path, stand.environment)
    for block in to_run(CHECKOUT / page):
        desk.run(block)
    assert desk.left(CHECKOUT / page) == []


def test_the_reference_documents_every_emitted_event_and_its_payload_fields(
    stand: RunningStand,
) -> None:
    documented = out()
    stand.emit(
        "tickets",
        {"key": "told-1", "payload": {"text": "Where is my parcel?"}, "urgent": True, "ack": True},
    )
    until(
        lambda: told(stand).keys() >= {"lanes.item.accepted", "lanes.item.answered"},
        what="what became of the item",
    )
    heard = told(stand)
    assert heard.keys() <= documented.keys()
    assert {name: says - set(documented[name].says) for name, says in heard.items()} == {
        name: set() for name in heard
    }


def told(stand: RunningStand) -> dict[str, set[str]]:
    """Return the payload fields of the events that Lanes emitted to Prefect, by event; incoming events are left out."""
    asked = {"filter": {"event": {"prefix": ["lanes."]}, "order": "DESC"}, "limit": 50}
    found = stand.prefect.post("events/filter", json=asked).raise_for_status().json()["events"]
    sent = [
        each for each in found if each["event"] not in ("lanes.item.arrived", "lanes.item.amended")
    ]
    says = defaultdict[str, set[str]](set)
    for each in sent:
        says[each["event"]].update(each["payload"])
    return says
