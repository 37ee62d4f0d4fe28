"""The README's command blocks, run unchanged and in order, where a reader would run them."""

import csv
from pathlib import Path

import pytest

from tests.docs.blocks import to_run
from tests.docs.desk import Desk
from tests.running_stand import RunningStand
from tests.waiting import until

pytestmark = pytest.mark.slow


def test_the_commands_of_the_readme_do_what_the_readme_says(
    stand: RunningStand, tmp_path: Path, checkout: Path
) -> None:
    desk = Desk(tmp_path, stand.environment)
    send, explain, write, take_in, get_out = to_run(checkout / "README.md")
    desk.run(send)
    until(
        lambda: stand.state("tickets", "mine-1") in ("answered", "settled"),
        what="the answer to the first own event",
    )
    assert "mine-1" in desk.run(explain)

    desk.run(write)
    desk.run(take_in)
    open_ones = (
        "select count(*) from lanes.item_status where workload = 'comments' and state <> 'settled'"
    )
    until(lambda: stand.value(open_ones) == 0, what="every answer to the file")
    desk.run(get_out)
    with (desk.folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (desk.folder / "comments.csv").open(newline="") as file:
        labels = {row["label"] for row in csv.DictReader(file)}
    assert len(rows) == 6
    assert {row["output.label"] for row in rows} <= labels
    assert desk.left(checkout / "README.md") == []
