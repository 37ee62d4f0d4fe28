"""`lanes metrics`: scrapes with a reader's rights, in both formats, even while Postgres is unavailable."""

import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, make_url

from lanes.cli import app
from lanes.settings import Settings
from lanes.stand.fleet import HostReport
from lanes.stand.info import SUPERUSER
from lanes.stand.metrics import exposition, server
from lanes.stand.postgres import Running
from lanes.stand.runs_with import RunsWith
from lanes.store.database import clock, engine
from lanes.store.figures import folding
from lanes.words import Lane
from tests.examples import admit, publish, route
from tests.prefect_standin import PrefectStandIn
from tests.stand.test_fleet import telling
from tests.store.tries import claim, save, tried
from tests.unit.test_observing import exposed

NO_STAND = RunsWith(Settings())
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@contextmanager
def served(pool: Engine, runs: RunsWith = NO_STAND) -> Iterator[str]:
    """Serve the metrics of a database; yield the address."""
    with server(pool, runs, "127.0.0.1", 0) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_address[1]}"
        finally:
            serving.shutdown()
            thread.join()


def get(url: str, accept: str = "text/plain") -> tuple[str, str]:
    """Return the content type and the text."""
    asked = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(asked) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def series(told: str) -> dict[str, set[str]]:
    """Return the labels of each series of an exposition, by its name."""
    samples = [it for each in text_string_to_metric_families(told) for it in each.samples]
    return {each.name: set(each.labels) for each in samples}


@pytest.fixture
def worked(pool: Engine) -> Engine:
    """Answer two items now: a scrape covers the month of the database's clock."""
    with pool.begin() as connection:
        now = clock(connection)
        publish(connection, now=now)
        admit(connection, "one", "two", now=now, lane=Lane.REALTIME)
        route(connection, now=now)
        tries = (tried(each, at=now) for each in claim(connection, now=now))
        save(connection, *tries, now=now)
    return pool


def test_a_scrape_returns_metrics_with_the_declared_labels(worked: Engine) -> None:
    with served(worked) as url:
        kind, told = get(f"{url}/metrics")
    assert kind.startswith("text/plain")
    found, declared = series(told), exposed()
    assert found["lanes_up"] == set()
    assert {name: declared[name] for name in found} == found
    assert "# HELP lanes_spend_usd_total US dollars billed by the provider.\n" in told


def test_a_scraper_that_accepts_openmetrics_receives_exemplars_of_answers(worked: Engine) -> None:
    with worked.begin() as connection:
        folding.fold(connection)
    with served(worked) as url:
        kind, told = get(f"{url}/metrics", OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    families = {each.name: each for each in openmetrics.text_string_to_metric_families(told)}
    assert "lanes_spend_usd" in families
    [example] = [
        each.exemplar for each in families["lanes_answer_seconds"].samples if each.exemplar
    ]
    assert (example.value, len(example.labels["trace_id"])) == (0, 32)
    assert told.endswith("# EOF\n")


def test_a_scrape_reports_an_unavailable_postgres_and_recovers_afterwards(
    worked: Engine, database_url: str, postgres: Running
) -> None:
    name, pool = make_url(database_url).database, engine(database_url)
    superuser = psycopg.connect(
        postgres.url("postgres", role=SUPERUSER).replace("+psycopg", ""), autocommit=True
    )
    with served(pool) as url, superuser as admin:
        assert "lanes_up 1.0" in get(f"{url}/metrics")[1]
        admin.execute(f'alter database "{name}" allow_connections false'.encode())
        try:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
            )
            _, told = get(f"{url}/metrics")
            assert {"lanes_up", "lanes_scrape_seconds"} == set(series(told))
            assert "lanes_up 0.0" in told
            assert get(f"{url}/healthz")[1] == "ok\n"
        finally:
            admin.execute(f'alter database "{name}" allow_connections true'.encode())
        assert "lanes_up 1.0" in get(f"{url}/metrics")[1]
    pool.dispose()


def test_workers_are_counted_by_pool_and_release_and_hosts_report_their_clock(
    worked: Engine, database_url: str, prefect: PrefectStandIn
) -> None:
    prefect.workers = {"realtime": [("realtime-alpha", "ONLINE"), ("realtime-beta", "OFFLINE")]}
    runs = RunsWith(Settings.model_validate({"PREFECT_API_URL": prefect.api_url}))
    with telling(database_url, HostReport("alpha", "1.2.3", -0.4)):
        told = exposition(worked, runs)
    assert 'lanes_workers{pool="realtime",release="1.2.3",status="online"} 1.0' in told
    assert 'lanes_workers{pool="realtime",release="",status="offline"} 1.0' in told
    assert 'lanes_host_clock_offset_seconds{host="alpha",release="1.2.3"} -0.4' in told


@pytest.mark.slow
def test_sigterm_ends_the_metrics_server(address: str, worked: Engine) -> None:
    command = [sys.executable, "-m", "lanes", "metrics", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "lanes_up 1.0" in get(process.stdout.readline().strip())[1]
        process.terminate()
        assert process.wait(10) == 0


def test_an_unknown_path_is_not_found(worked: Engine) -> None:
    with served(worked) as url, pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{url}/")


def test_metrics_with_once_prints_the_figures(
    address: str, pool: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app(["metrics", "--once"]) == 0
    assert "lanes_up 1.0" in capsys.readouterr().out
