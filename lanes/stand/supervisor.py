"""The supervisor, which requests runs for free standing roles from Prefect over HTTP.

    python -m lanes.stand.supervisor

Drains and standing runs replace each other; if all of them died at once, this process replaces them. It needs
LANES_DATABASE_URL and PREFECT_API_URL, and never ends by itself.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from lanes.errors import SetupError, StandError
from lanes.promises.breaches import describe_takeover
from lanes.settings import Settings
from lanes.stand.deploying import release
from lanes.stand.fleet import HostReport
from lanes.stand.prefect_api import PrefectApi
from lanes.standing import roles
from lanes.store import schema
from lanes.store.database import clock
from lanes.store.engines import discreet_engine
from lanes.store.promises import recording
from lanes.store.signals import read_standing_roles
from lanes.text import logs_are_json, make_logs_visible
from lanes.units import pluralize

PREFECT_S = 5.0
DATABASE = {"options": "-c statement_timeout=5000"}

NAME_SESSION = "select set_config('application_name', :name, false)"

Say = Callable[[str], None]


def ask_for_standing(api: PrefectApi, run: roles.StandingRun, now: datetime) -> bool:
    """Request a new standing run unless an open one may still take the role; return whether a run was requested.

    Raises:
        StandError: Prefect did not confirm the request.
    """
    if roles.may_take_role(api.open_runs(run.next.deployment, due_before=now + roles.SOON), now):
        return False
    api.run(roles.replacement(run, now))
    return True


class Supervisor:
    """A process that checks the standing roles every few seconds.

    It reports a problem with the database or Prefect once, and keeps trying.
    """

    def __init__(
        self,
        pool: Engine,
        api: PrefectApi,
        *,
        say: Say,
        vacancies: roles.Vacancies | None = None,
        keep_warm: int = 1,
        host: tuple[str, str] | None = None,
    ) -> None:
        self._pool, self._api, self._say = pool, api, say
        self._vacancies = vacancies or roles.Vacancies()
        self._watched = roles.never_free(keep_warm=keep_warm)
        self._troubles: dict[str, str] = {}
        self._host = host  # the host's name, and the release of Lanes on the host
        # the last report of sessions outside Lanes that hold a role
        self._foreign: list[str] = []

    def run(self) -> None:
        """Check the standing roles until the process ends."""
        while True:
            self.look()
            time.sleep(roles.LOOK_EVERY_S)

    def check_schema(self) -> None:
        """Refuse the schema of another release, newer or older; accept an unavailable database, which may come back.

        Raises:
            SetupError: code of this release may not work on the schema.
        """
        with suppress(SQLAlchemyError), self._pool.connect() as connection:
            if missing := schema.pending(connection):
                raise SetupError(
                    f"the database lacks {pluralize(len(missing), 'migration')} of this release (the next is {missing[0]}): "
                    "run `lanes deploy` with it first; workers of the release before may run on meanwhile"
                )

    def look(self) -> None:
        """Request a run for each role that has been free for a while, and record roles that other users' sessions hold.

        A problem with the database or Prefect is reported, not raised.
        """
        try:
            with self._pool.begin() as connection:
                asked, now, answered = time.time(), clock(connection), time.time()
                self._report((asked + answered) / 2 - now.timestamp(), connection)
                held = read_standing_roles(connection)
        except SQLAlchemyError as error:
            self._report_trouble("the database", error)
            return
        self._troubles.pop("the database", None)
        for run in self._vacancies.to_ask(self._watched, held, now):
            self._ask_for(run, now)
        self._record_taken()

    def _report(self, offset_s: float, connection: Connection) -> None:
        """Name the session after the host, its release and its clock offset in seconds: status and doctor read the name."""
        if self._host is not None:
            named = {"name": HostReport(*self._host, offset_s).session}
            connection.execute(text(NAME_SESSION), named)

    def _record_taken(self) -> None:
        """Record the roles that sessions of other users hold, and report each takeover once."""
        try:
            with self._pool.begin() as connection:
                found = recording.record_taken_roles(connection, now=clock(connection))
        except SQLAlchemyError as error:
            self._report_trouble("taken roles", error)
            return
        self._troubles.pop("taken roles", None)
        foreign = [describe_takeover(role, holders) for role, holders in found.items()]
        for sentence in foreign:
            if sentence not in self._foreign:
                self._say(sentence)
        self._foreign = foreign

    def _ask_for(self, run: roles.StandingRun, now: datetime) -> None:
        try:
            asked = ask_for_standing(self._api, run, now)
        except StandError as error:
            self._report_trouble(run.flow, error)
            return
        self._troubles.pop(run.flow, None)
        if asked:
            self._vacancies.record_request(run.role, now)
            self._say(f"no process held the role of {run.flow}: asked for a run of it")

    def _report_trouble(self, what: str, error: Exception) -> None:
        trouble = (
            f"{what}: tried again in a moment: {type(error).__name__}: {str(error).splitlines()[0]}"
        )
        if self._troubles.get(what) != trouble:
            self._say(trouble)
        self._troubles[what] = trouble


def log_line(sentence: str) -> None:
    """Write a line of the log to standard error."""
    if logs_are_json():
        logging.getLogger(__name__).warning("%s", sentence)
        return
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)


def supervisor(environment: Mapping[str, str]) -> Supervisor:
    """Return the supervisor of the database and the Prefect that the environment names.

    Raises:
        StandError: the environment names no database.
    """
    settings = Settings.model_validate(
        {name: value for name, value in environment.items() if value}
    )
    url = settings.direct_database_url or settings.database_url
    if url is None:
        raise StandError("no database is named: set LANES_DATABASE_URL")
    pool = discreet_engine(
        url.get_secret_value(), pool_size=1, pool_pre_ping=True, connect_args=dict(DATABASE)
    )
    api = PrefectApi(environment["PREFECT_API_URL"], environment=environment, timeout_s=PREFECT_S)
    return Supervisor(
        pool, api, say=log_line, keep_warm=settings.keep_warm, host=(settings.host, release())
    )


if __name__ == "__main__":
    make_logs_visible()
    supervisor(os.environ).run()
