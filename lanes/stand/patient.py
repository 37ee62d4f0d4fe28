"""What the checks of `lanes doctor` look at; what several of them need is looked up once."""

from functools import cached_property
from pathlib import Path
from threading import RLock

from sqlalchemy.engine import URL

from lanes.stand.database import check_answers, read_address
from lanes.stand.errors import StandError
from lanes.stand.info import STAND_IN_KEY, StandInfo
from lanes.stand.kept import DATABASE, PROVIDER, PROVIDER_URL
from lanes.stand.parts import POSTGRES
from lanes.stand.postgres import EmbeddedPostgres
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.runs_with import RunsWith

ANTHROPIC = "https://api.anthropic.com"


class NotLooked(Exception):
    """The check could not be made because of what another check finds wrong."""


class Patient:
    """One checkout, its stand, and what that runs with, as they are now."""

    def __init__(self, runs: RunsWith, home: Path, checkout: Path) -> None:
        self.runs = runs
        self.settings = runs.settings
        self.home = home
        self.checkout = checkout
        self._lock = RLock()

    @property
    def info(self) -> StandInfo | None:
        return self.runs.info

    def check_known(self, variable: str) -> None:
        """Raises NotLooked where the stand has a secret that nobody tells us here."""
        if variable in self.runs.unknown:
            raise NotLooked(self.runs.missing(variable))

    def database_url(self) -> URL:
        """The address of a database that answers. Raises StandError with what is wrong with it."""
        self.check_known(DATABASE)
        own = self.settings.database_url
        if own is not None:
            address = read_address(own.get_secret_value())
            check_answers(address)
            return address
        running = EmbeddedPostgres(self.home / POSTGRES).running()
        if running is None:
            raise StandError(
                f"the embedded Postgres in {self.home} does not run: start it with `lanes up`"
            )
        return read_address(running.url("lanes"))

    def usable_database(self) -> URL:
        """The same for a check that is about something else."""
        with self._lock:
            if isinstance(self._database, StandError):
                raise NotLooked("the database has to answer first")
            return self._database

    def usable_prefect(self) -> PrefectApi:
        """A client of a server that answers, for a check that is about something else."""
        if self.prefect_url is None:
            raise NotLooked("the Prefect server has to run first")
        api = self.prefect()
        if not api.healthy():
            raise NotLooked("the Prefect server has to answer first")
        return api

    def prefect(self) -> PrefectApi:
        """Return a client of the Prefect server, which `prefect_url` has to name."""
        assert self.prefect_url is not None
        return PrefectApi.at(self.prefect_url, self.info, timeout_s=5)

    @cached_property
    def prefect_url(self) -> str | None:
        if self.settings.prefect_api_url is not None:
            return self.settings.prefect_api_url
        return self.info.prefect_api_url if self.info is not None else None

    @cached_property
    def provider(self) -> tuple[str, str] | None:
        """(base address, key) of the model provider; None while the embedded one does not run. Raises NotLooked."""
        self.check_known(PROVIDER)
        self.check_known(PROVIDER_URL)  # without it the key would go to another host
        key = self.settings.anthropic_api_key
        if key is not None:
            return (self.settings.anthropic_base_url or ANTHROPIC).rstrip(
                "/"
            ), key.get_secret_value()
        if self.info is None or self.info.provider_base_url is None:
            return None
        return self.info.provider_base_url, STAND_IN_KEY

    @cached_property
    def _database(self) -> URL | StandError:
        try:
            return self.database_url()
        except StandError as error:
            return error
