"""A custom workload, made from a file of items with commands alone; and a definition file next to edits of its block."""

import csv
from pathlib import Path
from typing import Any

import pytest

from lanes.store.workload import workloads
from tests.running_stand import RunningStand, data
from tests.waiting import until

pytestmark = pytest.mark.slow

SLUG = "block_types/slug/lanes-workload/block_documents/name"
ITEMS = 30


@pytest.fixture
def items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a CSV file of texts and their categories in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    rows = [[f"Where is my parcel, number {n}?", ["late", "lost"][n % 2]] for n in range(ITEMS)]
    with Path("rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "category"], *rows])
    return Path("rows.csv")


def edited(stand: RunningStand, name: str, **fields: Any) -> None:
    """Edit the workload's block as Prefect's UI does."""
    block = stand.prefect.get(f"{SLUG}/{name}").raise_for_status().json()
    stand.prefect.patch(
        f"block_documents/{block['id']}", json={"data": {**block["data"], **fields}}
    ).raise_for_status()


def in_force(stand: RunningStand, name: str, field: str) -> Any:
    with stand.pool.begin() as connection:
        version = workloads.current(connection, name)
    return None if version is None else (version.number, getattr(version.spec, field))


def test_a_workload_drafted_from_a_csv_file_settles_every_item_of_the_file(
    stand: RunningStand, items: Path
) -> None:
    name = "own-letters"
    drafted = data(stand.cli("init", name, "--from", str(items), "--label", "category", "--json"))
    shown = data(
        stand.cli("preview", drafted["file"], "--item", str(items), "--field", "text", "--json")
    )
    assert (
        shown["lanes"]["batch"]["request"]["messages"][0]["content"]
        == next(csv.DictReader(items.open()))["text"]
    )
    published = stand.cli("publish", drafted["file"], "--yes")
    assert published.returncode == 0, published.stderr
    schedules = stand.prefect.get("deployments/name/depart/depart").json()["schedules"]
    assert {"departure": {"workload": name}} in [each["parameters"] for each in schedules]
    form = stand.prefect.get("deployments/name/set_split/set_split").json()[
        "parameter_openapi_schema"
    ]
    assert name in form["definitions"]["SetSplit"]["properties"]["workload"]["enum"]
    sent = stand.cli(
        "submit", str(items), "--workload", name, "--field", "text", "--label", "category", "--json"
    )
    assert data(sent)["outcomes"] == {"accepted": ITEMS}
    stand.run("depart", {"departure": {"workload": name}})
    settled = "select count(*) from lanes.item_status where workload = :w and state = 'settled'"
    until(lambda: stand.value(settled, w=name) == ITEMS, what="the answers")
    labels = stand.value(
        "select labels from lanes.accuracy where workload = :w and field = 'category'", w=name
    )
    assert labels == ITEMS


def test_file_block_and_database_agree_and_the_router_restores_no_older_definition(
    stand: RunningStand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stand.cli("init", "beside")
    assert stand.cli("publish", "beside.yaml", "--yes").returncode == 0
    assert data(stand.cli("publish", "beside.yaml", "--json"))["outcome"] == "nothing_differs"
    edited(stand, "beside", patience_s=7)
    until(lambda: in_force(stand, "beside", "patience_s") == (2, 7), what="the router's publishing")
    refused = stand.cli("publish", "beside.yaml")
    assert (refused.returncode, "patience_s: 7 -> 60" in refused.stdout) == (1, True)
    assert stand.cli("publish", "beside.yaml", "--yes").returncode == 0
    assert in_force(stand, "beside", "patience_s") == (1, 60)
    edited(stand, "archive", weight=2)
    until(
        lambda: in_force(stand, "archive", "weight")[1] == 2,
        what="the router's next look at the blocks",
    )
    assert in_force(stand, "beside", "patience_s") == (1, 60)
    assert stand.cli("export", "beside", "--out", "again.yaml").returncode == 0
    assert data(stand.cli("publish", "again.yaml", "--json"))["outcome"] == "nothing_differs"
    edited(stand, "archive", weight=1)
