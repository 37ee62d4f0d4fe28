"""The subject of `lanes doctor`'s checks: a checkout, its stand, and the settings that the stand runs with."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, ProgrammingError

from lanes.errors import StandError
from lanes.stand.database import check_own, read_address
from lanes.stand.fleet import HostReport, reports
from lanes.stand.info import STAND_IN_KEY, StandInfo
from lanes.stand.kept import DATABASE, PROVIDER, PROVIDER_URL
from lanes.stand.local import POSTGRES
from lanes.stand.postgres import EmbeddedPostgres
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.runs_with import ANTHROPIC, RunsWith, provider_in
from lanes.store.asking import ask_by_driver
from lanes.store.engines import discreet_engine

T = TypeVar("T")


class NotLooked(Exception):
    """A check could not run because of a problem that another check reports."""


class Patient:
    """One checkout, its stand, and the settings that the stand runs with, as they are now."""

    def __init__(self, runs: RunsWith, home: Path) -> None:
        self.runs = runs
        self.settings = runs.settings
        self.home = home
        self._lock = RLock()

    @property
    def info(self) -> StandInfo | None:
        return self.runs.info

    def check_known(self, variable: str) -> None:
        """Raise NotLooked if the variable is a secret of the stand that this shell does not have."""
        if variable in self.runs.unknown:
            raise NotLooked(self.runs.describe_missing(variable))

    def database_url(self) -> URL:
        """Return the address of the database, after checking that it answers.

        Raises:
            StandError: the database cannot be used; the message explains why.
            NotLooked: the stand has an address that this shell does not have.
        """
        self.check_known(DATABASE)
        if self.settings.database_url is not None:
            return check_own(self.settings)[0]
        running = EmbeddedPostgres(self.home / POSTGRES).running()
        if running is None:
            raise StandError(
                f"the embedded Postgres in {self.home} does not run: start it with `lanes up`"
            )
        return read_address(running.url("lanes"))

    def usable_database(self) -> URL:
        """Return the database's address for a check of something else; raise NotLooked if the database is unusable."""
        with self._lock:
            if isinstance(self._database, StandError):
                raise NotLooked("the database has to answer first")
            return self._database

    def reports(self) -> list[HostReport]:
        """Return the reports of the supervisors of all hosts."""
        with ask_by_driver(self.usable_database().render_as_string(hide_password=False)) as ask:
            return reports(ask)

    def usable_prefect(self) -> PrefectApi:
        """Return a client of the Prefect server for a check of something else; raise NotLooked if it does not answer."""
        if self.prefect_url is None:
            raise NotLooked("the Prefect server has to run first")
        api = self.prefect()
        if not api.healthy():
            raise NotLooked("the Prefect server has to answer first")
        return api

    def prefect(self) -> PrefectApi:
        """Return a client of the Prefect server; `prefect_url` must not be None."""
        assert self.prefect_url is not None
        return PrefectApi.at(self.prefect_url, self.info, timeout_s=5)

    @cached_property
    def prefect_url(self) -> str | None:
        if self.settings.prefect_api_url is not None:
            return self.settings.prefect_api_url
        return self.info.prefect_api_url if self.info is not None else None

    @cached_property
    def provider(self) -> tuple[str, str] | None:
        """(base address, key) of the model provider, from Prefect's block if this shell has no key; None without a provider.

        Raises:
            NotLooked: the stand has a key that this shell does not have.
        """
        self.check_known(PROVIDER)
        self.check_known(PROVIDER_URL)  # without it the key would go to another host
        key = self.settings.anthropic_api_key
        if key is not None:
            base = self.settings.anthropic_base_url or ANTHROPIC
            return base.rstrip("/"), key.get_secret_value()
        if self.info is not None and self.info.provider_base_url is not None:
            return self.info.provider_base_url, STAND_IN_KEY
        return provider_in(self.prefect()) if self.prefect_url is not None else None

    @cached_property
    def _database(self) -> URL | StandError:
        try:
            return self.database_url()
        except StandError as error:
            return error


def query_database(patient: Patient, query: Callable[[Connection], T]) -> T:
    engine = discreet_engine(patient.usable_database())
    try:
        with engine.connect() as connection:
            return query(connection)
    except ProgrammingError as error:
        raise StandError(
            "the database holds no tables of Lanes: run `lanes up` or `lanes deploy`"
        ) from error
    except DBAPIError as error:
        raise NotLooked("the database has to answer first") from error
    finally:
        engine.dispose()
