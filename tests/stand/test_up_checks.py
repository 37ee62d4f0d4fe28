"""Checks of `up` before it starts or writes anything: the key, and another run that uses the stand."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand import local
from lanes.stand.info import load_info
from lanes.stand.local import Users, birth_mark
from lanes.stand.progress import Silent
from lanes.stand.stand import NO_PROVIDER, Stand
from lanes.stand.steps import StandStep, list_installers
from lanes.stand.worksite import Site
from tests.prefect_standin import PrefectStandIn

OWN = "postgresql://me@127.0.0.1:5432/mine"


class HeardWarnings(Silent):
    """A progress display that records its sentences."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def settings(**variables: Any) -> Settings:
    return Settings.model_validate(variables)


@pytest.fixture
def steps() -> tuple[list[Settings], list[StandStep]]:
    """Return the settings with which the only step was run, and that step."""
    ran: list[Settings] = []

    def run(site: Site) -> str:
        ran.append(site.settings)
        return "done"

    return ran, [StandStep("step", "StandStep", run)]


@contextmanager
def provider(status: int) -> Iterator[str]:
    """Serve a provider that answers each request with this status; yield its address."""

    class RecordedServer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer((local.LOOPBACK, 0), RecordedServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{local.LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403])
def test_up_with_a_refused_key_fails_before_it_starts_anything(
    home: Path, steps: Any, status: int
) -> None:
    ran, all_steps = steps
    with provider(status) as base:
        refused = settings(ANTHROPIC_API_KEY="wrong", ANTHROPIC_BASE_URL=base)
        with pytest.raises(
            StandError, match=rf"{base} refuses ANTHROPIC_API_KEY \({status}\): set a key"
        ) as told:
            Stand(refused, home, home, steps=all_steps).up()
    assert "wrong" not in str(told.value)
    assert ran == []
    assert load_info(home) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "said"), [(200, None), (500, "answered 500"), (None, "gives no answer")]
)
def test_up_warns_about_a_provider_that_does_not_answer_and_continues(
    home: Path, steps: Any, status: int | None, said: str | None
) -> None:
    ran, all_steps = steps
    heard = HeardWarnings()
    with provider(status or 200) as base:
        address = base if status else f"http://{local.LOOPBACK}:1"
        Stand(
            settings(ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL=address), home, home, steps=all_steps
        ).up(heard)
    assert len(ran) == 1
    assert [each for each in heard.said if "key" in each] == heard.said
    assert [said is not None and said in each for each in heard.said] == ([True] if said else [])


def test_up_without_a_key_gives_no_warning_about_the_provider(home: Path, steps: Any) -> None:
    heard = HeardWarnings()
    Stand(settings(), home, home, steps=steps[1]).up(heard)
    assert heard.said == []


@pytest.fixture
def another_run(home: Path) -> Iterator[Callable[[Settings], None]]:
    """Yield a function that puts up a stand, which another process then uses."""
    other = subprocess.Popen(["sleep", "600"])

    def use(with_settings: Settings) -> None:
        Stand(with_settings, home, home, steps=[]).up()
        users = Users(home / "users")
        users.enter()
        said = json.dumps({"pid": other.pid, "mark": birth_mark(other.pid)})
        next(users.folder.glob("*.json")).rename(users.folder / f"{other.pid}.json").write_text(
            said
        )

    yield use
    other.kill()
    other.wait()


def test_up_joins_the_stand_of_another_run_with_the_settings_of_that_run(
    home: Path, steps: Any, another_run: Any
) -> None:
    ran, all_steps = steps
    another_run(settings(LANES_KEEP_WARM="0"))
    Stand(settings(), home, home, steps=all_steps).up()
    assert [each.keep_warm for each in ran] == [0]


def test_up_with_settings_that_differ_from_a_running_run_fails_before_any_step(
    home: Path, steps: Any, another_run: Any
) -> None:
    ran, all_steps = steps
    another_run(settings())
    with pytest.raises(
        StandError,
        match=r"another run is using this stand .*LANES_KEEP_WARM is not set there and 0 here",
    ):
        Stand(settings(LANES_KEEP_WARM="0"), home, home, steps=all_steps).up()
    assert ran == []


@pytest.mark.parametrize(
    ("with_settings", "asked", "publishes"),
    [
        ({}, False, True),
        ({"LANES_DATABASE_URL": OWN}, False, False),
        ({"LANES_DATABASE_URL": OWN}, True, True),
    ],
)
def test_samples_are_published_to_a_users_own_database_only_on_request(
    home: Path, with_settings: dict[str, str], asked: bool, publishes: bool
) -> None:
    site = Site(settings(**with_settings), home, home, samples=asked)
    assert ("--samples" in list_installers(site)) is publishes


def test_deploy_without_a_key_warns_until_prefect_has_a_provider_block(
    home: Path, prefect: PrefectStandIn
) -> None:
    heard = HeardWarnings()
    own = settings(LANES_DATABASE_URL=OWN, PREFECT_API_URL=prefect.api_url)
    Stand(own, home, home, steps=[]).deploy(heard)
    prefect.provider_blocks["lanes"] = {"api_key": "sk-geheim"}
    Stand(own, home, home, steps=[]).deploy(heard)
    assert heard.said == [NO_PROVIDER]
