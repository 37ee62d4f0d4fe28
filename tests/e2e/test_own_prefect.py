"""A stand that uses an existing Prefect server with a login of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from lanes.stand import local
from tests.running_stand import OWN, cli, put_up, take_down
from tests.waiting import until

pytestmark = pytest.mark.slow
LOGIN = "ada:of-a-server-of-her-own"


@pytest.fixture
def own_prefect(open_folder: Path, database_url: str) -> Iterator[str]:
    """Run `prefect server start` with a login, and return its address."""
    port = local.find_free_port()
    around = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    around |= {
        "PREFECT_HOME": str(open_folder / "prefect"),
        "PREFECT_SERVER_API_AUTH_STRING": LOGIN,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url.replace("+psycopg", "+asyncpg"),
    }
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        local.LOOPBACK,
        "--port",
        str(port),
    ]
    with (open_folder / "prefect.log").open("wb") as log:
        server = subprocess.Popen(command, env=around, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://{local.LOOPBACK}:{port}/api"
    try:
        until(lambda: _is_up(url), what="the server")
        yield url
    finally:
        server.terminate()
        server.wait(60)


def _is_up(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health", trust_env=False, timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def test_every_part_of_a_stand_logs_in_to_an_existing_prefect_server(
    open_folder: Path, own_prefect: str
) -> None:
    assert httpx2.get(f"{own_prefect}/admin/version", trust_env=False).status_code == 401
    stand = put_up(
        open_folder / "beside", PREFECT_API_URL=own_prefect, PREFECT_API_AUTH_STRING=LOGIN
    )
    try:
        assert "prefect-server" not in stand.started
        stand.emit(
            "tickets",
            {
                "key": "own-1",
                "payload": {"text": "Where is my parcel?"},
                "urgent": True,
                "ack": True,
            },
        )
        until(
            lambda: stand.state("tickets", "own-1") in ("answered", "settled"),
            what="the answer",
        )
        until(lambda: stand.events("lanes.item.answered"), what="the event")
        ran = stand.cli("prefect", "deployment", "run", "report/report", "--watch")
        assert ran.returncode == 0, ran.stdout + ran.stderr

        config = stand.cli("url", "prefect", "--curl-config").stdout.strip()
        curl = ["curl", "-fsS", "-K", config, f"{own_prefect}/admin/version"]
        assert subprocess.run(
            curl, capture_output=True, text=True, check=True, timeout=60
        ).stdout.startswith('"3.9.')

        unknown = {
            name: value
            for name, value in stand.environment.items()
            if name != "PREFECT_API_AUTH_STRING"
        }
        doctor = cli(unknown, "doctor")
        assert doctor.returncode == 1
        assert "refuses us: set PREFECT_API_KEY or PREFECT_API_AUTH_STRING" in doctor.stdout
        assert LOGIN.partition(":")[2] not in (stand.home / "stand.json").read_text()
    finally:
        take_down(stand)
    assert _is_up(own_prefect)
