"""An upgrade from the previous release with calls in flight and an open batch: both finish, and new drains continue.

The previous release is a recorded commit, taken from git's history; its wheel runs with this checkout's packages.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from lanes import FILES
from lanes.stand.info import load_info
from lanes.store import schema
from tests.chaos.test_kills import Prey, until
from tests.running_stand import OWN, data, opened, put_up, take_down
from tests.wheel import installed

pytestmark = pytest.mark.slow
# The previous release; its newest migration is `RELEASED` in tests/store/test_schema.py.
RELEASED = "a48021d4"
CALLS, OLD, NEW = 16, 30, 10


@dataclass(frozen=True)
class Release:
    """The previous release: its checkout, and the Python of the environment in which its wheel is installed."""

    folder: Path
    python: Path


@pytest.fixture(scope="module")
def release(open_folder: Path, checkout: Path) -> Release:
    """Return the previous release, or skip the tests when git does not have it."""
    folder = open_folder / "release"
    (folder / "installed").mkdir(parents=True)
    command = ["git", "-C", str(checkout), "archive", "--format=tar", RELEASED]
    try:
        packed = subprocess.run(command, capture_output=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if packed.returncode:
        pytest.skip(f"the history of git has no {RELEASED}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return Release(folder, installed(folder / "installed", folder))


def by_release(
    release: Release, environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a `lanes` command of the previous release."""
    standin = release.folder / "packages/anthropic-standin"
    return subprocess.run(
        [release.python, "-m", "lanes", *arguments],
        env=environment | {"PYTHONPATH": str(standin)},
        cwd=release.folder / "installed",  # so that Python finds the wheel, not the checkout
        text=True,
        capture_output=True,
        timeout=240,
    )


@pytest.fixture
def old(open_folder: Path, release: Release) -> Iterator[Prey]:
    """Start a stand with the previous release; this release stops it."""
    home = open_folder / "upgraded"
    asked = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    asked |= {
        "LANES_HOME": str(home),
        "LANES_LOCAL_ENGINE": "echo",
        "LANES_LOCAL_TURNAROUND_S": "1",
    }
    done = by_release(release, asked, "up", "--json")
    assert done.returncode == 0, done.stderr
    info = load_info(home)
    assert info is not None
    stand = Prey(**vars(opened(home, asked, info, frozenset(data(done)["started"]))))
    yield stand
    take_down(stand)


def test_an_upgrade_loses_and_repeats_no_call_and_settles_the_open_batch(
    old: Prey, release: Release
) -> None:
    calls, batch, new = (uuid4().hex[:8] for _ in range(3))
    old.fault("batches.create", "stall")
    old.put("archive", OLD, batch, lane="batch")
    until(lambda: old.states(batch)["routed"] == OLD, what="the routes")
    old.run("depart", {"departure": {"workload": "archive"}})
    until(
        lambda: old.value("select count(*) from lanes.batch where state = 'submitted'"),
        what="a batch",
    )
    old.fault("messages", "latency", latency_s=4)
    old.put("tickets", CALLS, calls, urgent=True)
    until(lambda: old.states(calls)["working"], what="calls in flight")

    put_up(old.home)
    old.heal()
    old.put("tickets", NEW, new, urgent=True)
    for word, items in ((calls, CALLS), (new, NEW)):
        until(
            lambda word=word, items=items: (
                old.states(word)["answered"] + old.states(word)["settled"] == items
            ),
            what="answers",
        )
        told = (
            "select count(*) filter (where outcome = 'valid'), count(distinct key), count(*)"
            " from lanes.attempt_log where key like :k and purpose = 'answer'"
        )
        assert [*old.rows(told, k=f"{word}-%")[0]] == [items, items, items]
        paid = old.endpoint.get(f"_control/texts?contains={word}").json()["responses"]
        assert paid == items
    until(lambda: set(old.states(batch)) == {"settled"}, what="the batch")
    with old.pool.begin() as connection:
        assert schema.pending(connection) == []

    refused = by_release(release, old.asked, "up")
    if schema_of(release.folder) < newest():
        assert refused.returncode == 1
        assert "made by a newer one" in refused.stderr


def schema_of(checkout: Path) -> str:
    """Return the newest migration of a checkout."""
    return max(each.name[:4] for each in (checkout / "migrations/schema/versions").glob("*.py"))


def newest() -> str:
    """Return the newest migration of this checkout."""
    return schema_of(FILES)
