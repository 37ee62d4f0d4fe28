"""A shell with its own variables, and a stand without processes that another shell put up."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from lanes.settings import Settings
from lanes.stand.progress import Silent
from lanes.stand.stand import Stand
from lanes.stand.steps import StandStep
from lanes.stand.worksite import Site
from tests.prefect_standin import PrefectStandIn

VARIABLES = [str(each.validation_alias) for each in Settings.model_fields.values()]
ADDRESS = "postgresql+psycopg://ada:geheim@db.invalid:5432/letters"
OURS = {
    "LANES_DATABASE_URL": "postgres://ada:geheim@db.invalid:5432/letters",
    "LANES_HEARTBEAT_URL": "https://hc.example.com/ping/geheim",
    "SLACK_BOT_TOKEN": "xoxb-geheim",
    "SLACK_CHANNEL": "#ops",
}


@contextmanager
def shell(**variables: str) -> Iterator[Settings]:
    """Set these variables; yield the settings that result."""
    with pytest.MonkeyPatch.context() as patched:
        for variable, value in variables.items():
            patched.setenv(variable, value)
        yield Settings.read()


class HeardProgress(Silent):
    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


def put_up(
    home: Path, prefect: PrefectStandIn, variables: Mapping[str, str] = OURS
) -> HeardProgress:
    """Put up a stand without processes whose Prefect is the stand-in; return its progress messages."""

    def server(site: Site) -> str:
        site.prefect_api_url = prefect.api_url
        return "up"

    heard = HeardProgress()
    with shell(**variables) as settings:
        Stand(settings, home, home, steps=[StandStep("server", "Prefect server", server)]).up(heard)
    return heard
