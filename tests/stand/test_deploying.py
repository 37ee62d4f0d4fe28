"""The release of a checkout, and how the deployments in Prefect may differ from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lanes.stand.deploying import SILENT_RUNS, read_deployments, release, shortcomings
from lanes.stand.prefect_api import PrefectApi
from tests.prefect_standin import PrefectStandIn

OURS = "0.1.0+abcd"
WANTED = {
    name: {
        "name": name,
        "entrypoint": f"flows.{name}",
        "version": "",
        "work_pool": {"name": "batch"},
    }
    for name in ("collect", "watch")
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "answer.py").write_text("one")
    (tmp_path / "prefect.yaml").write_text("deployments: []")
    return tmp_path


@pytest.mark.parametrize("file", ["flows/answer.py", "prefect.yaml", "flows/new.py"])
def test_a_changed_or_new_file_changes_the_release_and_another_folder_does_not(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, file: str
) -> None:
    before = release(checkout, checkout)
    moved = checkout.rename(tmp_path_factory.mktemp("elsewhere") / "moved")
    assert release(moved, moved) == before
    (moved / file).write_text("two")
    assert release(moved, moved) != before


def test_a_wheel_has_the_release_of_its_checkout(checkout: Path) -> None:
    for name in (
        "lanes/text.py",
        "tasks/store.py",
        "migrations/env.py",
        "migrations/playbooks/p.yaml",
    ):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(name)
    before, installed = release(checkout, checkout), checkout / "lanes" / "files"
    installed.mkdir()
    for name in ("prefect.yaml", "migrations"):
        (checkout / name).rename(installed / name)
    assert release(checkout, installed) == before


def test_every_deployment_has_the_version_of_the_release_and_no_pull_steps() -> None:
    assert {each["version"] for each in read_deployments().values()} == {"{{ $LANES_RELEASE }}"}
    assert all("pull" not in each for each in read_deployments().values())


@pytest.fixture
def server(prefect: PrefectStandIn) -> PrefectStandIn:
    """Give the server exactly the deployments and automations of this release."""
    prefect.deployed = {
        name: {
            "name": name,
            "entrypoint": each["entrypoint"],
            "version": OURS,
            "work_pool_name": "batch",
            "pull_steps": [],
            "path": None,
        }
        for name, each in WANTED.items()
    }
    names = [
        SILENT_RUNS,
        *(f"lanes-replace-{each}" for each in ("answer", "collect", "watch", "migrate")),
    ]
    prefect.automations = {name: {"name": name, "enabled": True} for name in names}
    return prefect


@pytest.fixture
def api(server: PrefectStandIn) -> Iterator[PrefectApi]:
    with PrefectApi(server.api_url, environment={}) as opened:
        yield opened


def test_a_server_that_matches_the_release_has_no_shortcomings(api: PrefectApi) -> None:
    assert shortcomings(api, WANTED, OURS) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {
                "pull_steps": [
                    {"prefect.deployments.steps.set_working_directory": {"directory": "/a"}}
                ]
            },
            "the deployments watch load their code from /a, a folder of one machine",
        ),
        ({"path": "/b"}, "the deployments watch load their code from /b, a folder of one machine"),
        ({"version": "0.0.9+old"}, f"the deployments watch have version 0.0.9+old, not {OURS}"),
        (
            {"entrypoint": "mine.py:watch"},
            "the deployments watch have entrypoint mine.py:watch, not flows.watch",
        ),
        ({"work_pool_name": None}, "the deployments watch have work_pool_name None, not batch"),
    ],
)
def test_a_changed_deployment_is_named(
    server: PrefectStandIn, api: PrefectApi, changed: dict[str, Any], said: str
) -> None:
    server.deployed["watch"] |= changed
    assert shortcomings(api, WANTED, OURS) == [said]


def test_a_difference_of_all_deployments_is_reported_without_their_names(
    server: PrefectStandIn, api: PrefectApi
) -> None:
    for each in server.deployed.values():
        each["version"] = "0.0.9+old"
    assert shortcomings(api, WANTED, OURS) == [
        f"all 2 deployments have version 0.0.9+old, not {OURS}"
    ]


def test_missing_deployments_and_missing_or_disabled_automations_are_named(
    server: PrefectStandIn, api: PrefectApi
) -> None:
    del server.deployed["collect"], server.automations[SILENT_RUNS]
    server.automations["lanes-replace-watch"]["enabled"] = False
    assert shortcomings(api, WANTED, OURS) == [
        "Prefect lacks the deployments collect",
        f"Prefect lacks the automations {SILENT_RUNS}",
        "the automations lanes-replace-watch are switched off",
    ]
