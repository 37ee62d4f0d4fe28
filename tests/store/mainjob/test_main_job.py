"""The main job on a stand that others use as well."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from lanes.mainjob.mainjob import MainJob, SentItems
from lanes.mainjob.onlooker import CountLines
from lanes.mainjob.scene import Scene
from lanes.settling.holds import Movers
from lanes.stand.prefect_api import PrefectApi
from lanes.store.workload import workloads
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.prefect_standin import PrefectStandIn
from tests.store.tries import claim, save, tried

MINE = SentItems(keys={"tickets": ["mine"]})


@pytest.fixture
def job(pool: Engine, prefect: PrefectStandIn) -> Iterator[MainJob]:
    """Yield a main job on a stand where another workload's item waits for its off-peak hours."""
    with pool.begin() as connection:
        for name in ("archive", "tickets"):
            publish(connection, name, now=NOON)
        admit(connection, "theirs", now=NOON, workload="archive", lane=Lane.BATCH)
        admit(connection, "mine", now=NOON, workload="tickets", lane=Lane.BATCH)
        route(connection, now=NOON)
    with PrefectApi(prefect.api_url) as api:
        yield MainJob(pool, api, CountLines())


def test_the_main_job_starts_a_departure_for_its_own_workload_only(
    job: MainJob, prefect: PrefectStandIn
) -> None:
    assert job.depart(MINE) is not None
    assert prefect.asked("depart") == [{"departure": {"workload": "tickets"}}]


def test_the_main_job_starts_no_departure_when_none_of_its_own_work_can_leave(
    job: MainJob, prefect: PrefectStandIn, pool: Engine
) -> None:
    assert job.depart(SentItems(keys={"tickets": ["answered"]})) is None
    with pool.begin() as connection:
        connection.execute(text("update lanes.work set state = 'done' where workload = 'tickets'"))
    assert job.depart(MINE) is None
    with pool.begin() as connection:
        connection.execute(text("update lanes.work set state = 'ready' where workload = 'tickets'"))
        workloads.pause(connection, "tickets", since=NOON)
    assert job.depart(MINE) is None
    assert prefect.asked("depart") == []


def test_a_departure_waits_only_for_real_time_work_of_its_own_workload(
    job: MainJob, prefect: PrefectStandIn, pool: Engine
) -> None:
    with pool.begin() as connection:
        admit(connection, "also-theirs", now=NOON, workload="archive", lane=Lane.REALTIME)
        admit(connection, "now", now=NOON, workload="tickets", lane=Lane.REALTIME)
        route(connection, now=NOON)
    assert job.depart(MINE) is None
    with pool.begin() as connection:
        save(connection, *(tried(each) for each in claim(connection) if each.workload == "tickets"))
    assert job.depart(MINE) is not None


def test_one_departure_covers_all_workloads_when_all_waiting_work_is_the_runs_own(
    job: MainJob, prefect: PrefectStandIn
) -> None:
    departing = job.depart(SentItems(keys={"tickets": ["mine"], "archive": ["theirs"]}))
    assert departing is not None
    assert prefect.asked("depart") == [{"departure": {"workload": None}}]
    assert job.describe_open(MINE, Movers(departing)).endswith(
        "`depart` takes them, its run is scheduled"
    )


def test_a_departure_of_all_workloads_starts_while_one_still_has_real_time_work(
    job: MainJob, prefect: PrefectStandIn, pool: Engine
) -> None:
    both = SentItems(keys={"tickets": ["mine"], "archive": ["theirs"]})
    with pool.begin() as connection:
        admit(connection, "now", now=NOON, workload="archive", lane=Lane.REALTIME)
        route(connection, now=NOON)
    assert job.depart(both) is not None
    assert prefect.asked("depart") == [{"departure": {"workload": None}}]


def test_no_departure_starts_while_the_scene_holds_back_one_of_its_workloads(
    job: MainJob, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(job._pool, job._api, [], [])  # pyright: ignore[reportPrivateUsage]
    both = SentItems(keys={"tickets": ["mine"], "archive": ["theirs"]}, scene=scene)
    monkeypatch.setattr(scene, "holds_back", {"archive"}.__contains__)
    assert job.depart(both) is None
    assert prefect.asked("depart") == []
    monkeypatch.setattr(scene, "holds_back", set[str]().__contains__)
    assert job.depart(both) is not None
    assert prefect.asked("depart") == [{"departure": {"workload": None}}]


def test_workloads_depart_one_after_another_when_work_of_others_also_waits(
    job: MainJob, prefect: PrefectStandIn, pool: Engine
) -> None:
    both = SentItems(keys={"tickets": ["mine"], "archive": ["theirs"]})
    with pool.begin() as connection:
        publish(connection, "night", now=NOON)
        admit(connection, "others", now=NOON, workload="night", lane=Lane.BATCH)
        route(connection, now=NOON)
    job.depart(both)
    with pool.begin() as connection:
        connection.execute(
            text("update lanes.work set state = 'submitted' where workload = 'tickets'")
        )
    job.depart(both)
    assert [each["departure"]["workload"] for each in prefect.asked("depart")] == [
        "tickets",
        "archive",
    ]


def test_the_main_job_describes_the_wait_of_its_own_items(job: MainJob, pool: Engine) -> None:
    assert (
        job.describe_open(MINE)
        == "waiting for 1 item of tickets to leave in a batch: `depart` is asked for next"
    )
    departing = job.depart(MINE)
    assert departing is not None
    assert job.describe_open(MINE, Movers(departing)).endswith(
        "`depart` takes them, its run is scheduled"
    )


def test_the_examples_of_a_run_are_answers_to_its_own_items(job: MainJob, pool: Engine) -> None:
    both = SentItems(keys={"tickets": ["mine"], "archive": ["theirs"]})
    assert job.examples(both) == []
    with pool.begin() as connection:
        save(connection, *(tried(each) for each in claim(connection, Lane.BATCH)))
    assert [each.key for each in job.examples(both)] == ["theirs", "mine"]
    assert [each.key for each in job.examples(MINE)] == ["mine"]
    assert job.examples(SentItems(keys={"tickets": []})) == []  # every line of the file was refused


def test_a_report_starts_at_the_runs_first_receipt_without_earlier_items(
    job: MainJob, pool: Engine
) -> None:
    with pool.begin() as connection:
        admit(connection, "before", now=later(minutes=-5), workload="tickets", lane=Lane.BATCH)
    both = {"tickets": ["before", "mine"]}
    assert job.find_first_receipt(SentItems(both, earlier=["before"])) == NOON
    assert job.find_first_receipt(SentItems(both)) == later(minutes=-5)
