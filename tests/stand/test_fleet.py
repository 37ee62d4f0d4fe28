"""Workers of several hosts, the reports of their supervisors, and the problems that the doctor finds."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Engine

from lanes.errors import StandError
from lanes.stand.fleet import (
    LONGEST_HOST,
    FleetWorker,
    HostReport,
    check_places,
    fleet,
    reports,
    troubles,
)
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.supervisor import Supervisor
from lanes.store.asking import ask_by_driver, plain_url
from tests.prefect_standin import PrefectStandIn

RELEASE = "0.1.0+58dae29f"


@contextmanager
def telling(database_url: str, *told: HostReport) -> Iterator[list[HostReport]]:
    """Open sessions of supervisors with these reports; yield the reports that are read back."""
    sessions = [
        psycopg.connect(plain_url(database_url), application_name=each.session) for each in told
    ]
    try:
        with ask_by_driver(database_url) as ask:
            yield sorted(reports(ask), key=lambda each: each.host)
    finally:
        for each in sessions:
            each.close()


def test_a_supervisor_names_its_session_after_its_host_its_release_and_its_clock(
    pool: Engine, database_url: str, prefect: PrefectStandIn
) -> None:
    with PrefectApi(prefect.api_url, environment={}) as api:
        told = Supervisor(pool, api, say=print, keep_warm=False, host=("alpha", RELEASE))
        told.look()
        told.look()
    with ask_by_driver(database_url) as ask:
        (found,) = reports(ask)
    assert (found.host, found.release) == ("alpha", RELEASE)
    assert abs(found.offset_s) < 1
    assert troubles([found]) == []
    pool.dispose()
    with ask_by_driver(database_url) as ask:
        assert reports(ask) == []


@pytest.mark.parametrize("offset_s", [-0.04, 0.0, 0.04])
def test_a_clock_offset_that_rounds_to_zero_has_no_minus_sign(offset_s: float) -> None:
    assert HostReport("alpha", RELEASE, offset_s).session.endswith(" +0.0s")


def test_the_longest_report_fits_the_length_limit_of_postgres(database_url: str) -> None:
    longest = HostReport("h" * 80, "0.10.0+58dae29f", -1e9)
    assert len(longest.session) <= 63
    with telling(database_url, longest) as found:
        assert found == [HostReport("h" * LONGEST_HOST, longest.release, -9_999.0)]


def test_each_worker_has_the_report_of_its_own_host(prefect: PrefectStandIn) -> None:
    long = "lanes-worker-realtime-7c9f8d6b5-x2k4q"
    prefect.workers = {
        "realtime": [("realtime-alpha", "ONLINE"), (f"realtime-{long}", "ONLINE")],
        "batch": [("batch-alpha", "OFFLINE"), ("batch-beta", "ONLINE")],
    }
    alpha = HostReport("alpha", RELEASE, 0.1)
    pod = HostReport(long[-LONGEST_HOST:], "0.2.0+00000000", 0.0)
    with PrefectApi(prefect.api_url, environment={}) as api:
        found = fleet(api, [alpha, pod])
    assert found == [
        FleetWorker("realtime-alpha", "realtime", True, alpha),
        FleetWorker(f"realtime-{long}", "realtime", True, pod),
        FleetWorker("batch-alpha", "batch", False, alpha),
        FleetWorker("batch-beta", "batch", True, None),
    ]
    assert [str(each) for each in found[::3]] == [
        f"realtime-alpha (release {RELEASE}, clock +0.1 s)",
        "batch-beta (release and clock unknown: no supervisor runs beside it)",
    ]


@pytest.mark.parametrize(
    ("name", "limit", "keep_warm"),
    [("realtime", None, 2), ("realtime", 4, 2), ("realtime", 2, 0), ("batch", 1, 2)],
)
def test_a_pool_with_a_slot_for_the_next_drain_passes_the_check(
    name: str, limit: int | None, keep_warm: int
) -> None:
    check_places({"name": name, "concurrency_limit": limit}, keep_warm=keep_warm)


@pytest.mark.parametrize(("limit", "keep_warm", "least"), [(0, 0, 2), (1, 1, 2), (3, 2, 4)])
def test_a_pool_without_a_slot_for_the_next_drain_is_reported_with_the_command(
    limit: int, keep_warm: int, least: int
) -> None:
    with pytest.raises(StandError, match=f"set-concurrency-limit realtime {least}`"):
        check_places({"name": "realtime", "concurrency_limit": limit}, keep_warm=keep_warm)


@pytest.mark.parametrize(("offset_s", "said"), [(90, "90.0 s ahead of"), (-5, "5.0 s behind")])
def test_a_wrong_clock_and_a_name_that_two_hosts_share_are_reported(
    database_url: str, offset_s: float, said: str
) -> None:
    alpha = HostReport("alpha", RELEASE, 4.9)
    with telling(database_url, alpha, HostReport("beta", RELEASE, offset_s)) as found:
        (clock,) = troubles(found)
    assert clock.startswith(f"the clock of beta is {said} that of Postgres: synchronize it")
    with telling(database_url, alpha, alpha) as found:
        (twice,) = troubles(found)
    assert twice.startswith("two supervisors tell that they run on alpha")
    assert "set LANES_HOST" in twice
