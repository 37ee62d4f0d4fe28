"""A restarted stand that serves both lanes, whatever Prefect still records about the previous runs."""

from pathlib import Path

import pytest

from tests.running_stand import put_up, take_down
from tests.waiting import until


@pytest.mark.slow
def test_a_restarted_stand_answers_and_settles(open_folder: Path) -> None:
    home = open_folder / "restarted"
    take_down(put_up(home))
    again = put_up(home)
    try:
        again.emit(
            "tickets", {"key": "after", "payload": {"text": "Is anybody there?"}, "urgent": True}
        )
        until(
            lambda: again.state("tickets", "after") == "answered", what="the answer of a new drain"
        )
        again.run("depart", {"departure": {"workload": "tickets"}})
        until(
            lambda: again.state("tickets", "after") == "settled",
            what="the batch that a new collect brings back",
        )
    finally:
        take_down(again)
