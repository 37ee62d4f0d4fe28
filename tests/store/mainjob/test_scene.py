"""The scene of the main job: waiting readers read answers, and late data amends answered items."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from lanes.mainjob.mainjob import MainJob, SentItems
from lanes.mainjob.onlooker import CountLines
from lanes.mainjob.samples import sample_appeals, sample_workloads
from lanes.mainjob.scene import (
    GIVEN_UP_AFTER_S,
    SENT_AGAIN_AFTER_S,
    SampleSubmission,
    Scene,
    samples,
)
from lanes.stand.prefect_api import PrefectApi
from lanes.store.signals import CLASS, Role
from lanes.words import Lane
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.prefect_standin import PrefectStandIn
from tests.store.tries import claim, rows, save, tried

DESK = SampleSubmission("tickets", "desk", {"key": "desk", "consumer": "support-desk"}, None)
DIGEST = SampleSubmission("tickets", "digest", {"key": "digest", "consumer": "weekly-digest"}, None)
ADDED = SampleSubmission(
    "tickets", "desk", {"key": "desk", "payload": {"text": "and more"}}, {"category": "b"}
)


class SceneClock:
    """A clock in seconds that a test sets."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def __call__(self) -> float:
        return self.at_s


@pytest.fixture
def elapsed() -> SceneClock:
    """Return the scene's clock."""
    return SceneClock()


@pytest.fixture
def api(prefect: PrefectStandIn) -> Iterator[PrefectApi]:
    """Yield a client of the test's Prefect server."""
    with PrefectApi(prefect.api_url) as opened:
        yield opened


@pytest.fixture
def scene(pool: Engine, api: PrefectApi, elapsed: SceneClock) -> Scene:
    """Return a scene with two real-time items, one of which its customer will amend."""
    with pool.begin() as connection:
        publish(connection, "tickets", now=NOON, mode="lambda")
        admit(connection, "desk", "digest", now=NOON, workload="tickets", lane=Lane.REALTIME)
        route(connection, now=NOON)
    return Scene(pool, api, [DESK, DIGEST], [ADDED], elapsed=elapsed)


def answer(pool: Engine) -> None:
    """Answer all real-time work."""
    with pool.begin() as connection:
        save(connection, *(tried(each) for each in claim(connection)))


def told(prefect: PrefectStandIn) -> list[tuple[str, str]]:
    """Return the sent events, each with its item's key."""
    return [(each["event"], each["payload"]["key"]) for each in prefect.events]


def test_a_waiting_reader_reads_each_answer_once_and_other_readers_read_nothing(
    scene: Scene, pool: Engine
) -> None:
    def reads() -> list[str]:
        with pool.begin() as connection:
            return [each.reader for each in rows(connection, "read")]

    scene.look()
    assert reads() == []
    answer(pool)
    scene.look()
    scene.look()
    assert reads() == ["support-desk"]


def test_a_reader_waits_for_an_item_that_is_not_admitted_yet(pool: Engine, api: PrefectApi) -> None:
    with pool.begin() as connection:
        publish(connection, "tickets", now=NOON)
    scene = Scene(pool, api, [DESK], [])
    scene.look()
    with pool.begin() as connection:
        admit(connection, "desk", now=NOON, workload="tickets", lane=Lane.REALTIME)
        route(connection, now=NOON)
    answer(pool)
    scene.look()
    with pool.begin() as connection:
        assert [each.reader for each in rows(connection, "read")] == ["support-desk"]


def test_late_data_is_sent_after_the_answer_and_again_until_it_is_in_force(
    scene: Scene, pool: Engine, prefect: PrefectStandIn, elapsed: SceneClock
) -> None:
    scene.look()
    assert told(prefect) == []
    answer(pool)
    scene.look()
    scene.look()
    assert told(prefect) == [("lanes.item.amended", "desk")]
    elapsed.at_s = SENT_AGAIN_AFTER_S
    scene.look()
    assert len(told(prefect)) == 2
    with pool.begin() as connection:
        connection.execute(
            text("select lanes.amend('tickets', 'desk', '{\"text\": \"and more\"}')")
        )
    elapsed.at_s = 2 * SENT_AGAIN_AFTER_S
    scene.look()
    assert len(told(prefect)) == 2


def test_only_the_amended_workloads_batch_waits_for_the_amendment_and_only_up_to_a_limit(
    scene: Scene, pool: Engine, elapsed: SceneClock
) -> None:
    answer(pool)
    assert scene.holds_back("tickets")
    assert not scene.holds_back("archive")
    elapsed.at_s = GIVEN_UP_AFTER_S
    assert not scene.holds_back("tickets")
    elapsed.at_s = 0
    with pool.begin() as connection:
        connection.execute(
            text("select lanes.amend('tickets', 'desk', '{\"text\": \"and more\"}')")
        )
    scene.look()
    assert not scene.holds_back("tickets")


def test_the_main_job_starts_a_departure_only_when_its_scene_allows_it(
    scene: Scene, pool: Engine, api: PrefectApi, prefect: PrefectStandIn, elapsed: SceneClock
) -> None:
    answer(pool)
    job, sent = (
        MainJob(pool, api, CountLines()),
        SentItems({"tickets": ["desk", "digest"]}, scene=scene),
    )
    assert job.depart(sent) is None
    elapsed.at_s = GIVEN_UP_AFTER_S
    assert job.depart(sent) is not None
    assert prefect.asked("depart") == [{"departure": {"workload": "tickets"}}]


APPEALS = samples("run", sample_appeals(), now=NOON)


@pytest.fixture
def appealed(pool: Engine, api: PrefectApi, elapsed: SceneClock) -> Scene:
    """Return a scene of the comments' workload with two appeals that arrived minutes ago."""
    fields = {
        field: value for field, value in sample_workloads()["moderation"].items() if field != "name"
    }
    with pool.begin() as connection:
        publish(connection, "moderation", now=NOON, **fields)
    return Scene(pool, api, [], [], APPEALS, elapsed=elapsed)


def test_earlier_items_enter_once_a_collector_runs_and_their_batch_is_held_back(
    appealed: Scene, pool: Engine
) -> None:
    assert appealed.look() == []
    assert appealed.holds_back("moderation")
    with pool.begin() as collector:
        collector.execute(
            text("select pg_advisory_xact_lock(:of, :role)"),
            {"of": CLASS, "role": int(Role.COLLECTOR)},
        )
        assert appealed.look() == APPEALS
        assert appealed.look() == []
    assert not appealed.expects_more
    assert appealed.holds_back("moderation")
    assert not appealed.holds_back("tickets")


def test_the_scene_stops_waiting_for_earlier_items_after_a_limit(
    appealed: Scene, elapsed: SceneClock
) -> None:
    elapsed.at_s = GIVEN_UP_AFTER_S - 1
    assert appealed.expects_more
    elapsed.at_s = GIVEN_UP_AFTER_S
    assert not appealed.expects_more
    assert not appealed.holds_back("moderation")
    assert appealed.look() == []
