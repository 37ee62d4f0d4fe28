"""`lanes status`: whether the stand answers, and what the lanes do."""

import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter, validators
from pydantic import TypeAdapter
from sqlalchemy.exc import DBAPIError

from lanes.commands.guarded import guarded
from lanes.commands.output import AsJson, print_json, print_line
from lanes.errors import SetupError
from lanes.report.links import REPORT, report_page
from lanes.report.snapshot import Snapshot
from lanes.settings import Settings
from lanes.stand.errors import StandError
from lanes.stand.info import load_info
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.stand import PREFECT_S, Stand
from lanes.stand.status import Condition, components
from lanes.stand.whereabouts import database_url
from lanes.store.database import clock, engine
from lanes.store.report import snapshot

WELL = {Condition.RUNNING, Condition.YOURS}


def status(
    *,
    hours: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=720), help="Hours looked back.")] = 24,
    as_json: AsJson = False,
) -> int:
    """Show each component of the stand, with its log, and the figures of the last hours.

    The figures are those of the report: lanes, cost, incidents, rollouts, replays, batches, reads, advice.
    Exit code 1 when something that should run does not answer.
    """

    def look() -> int:
        stand = Stand(Settings.read())
        found = components(stand)
        figures = _figures(hours)
        if as_json:
            shown = None if figures is None else TypeAdapter(Snapshot).dump_python(figures, mode="json")
            print_json({"components": [asdict(each) for each in found], "figures": shown})
        else:
            from rich.console import Console  # a program that asks for JSON does not wait for what draws tables

            from lanes.report import terminal

            console = Console(highlight=False, soft_wrap=True)
            for each in found:
                where = {"port": each.port, "pid": each.pid, "log": each.log}
                said = ", ".join(f"{name} {value}" for name, value in where.items() if value is not None)
                print_line(console, each.condition, each.name, f"{each.detail}{f' ({said})' if said else ''}")
            if figures is not None:
                print()
                shown = terminal.render(figures, report_url=_newest_report(stand), named="Newest report")
                Console(width=None if sys.stdout.isatty() else 110).print(shown)
        return 0 if all(each.condition in WELL for each in found) else 1

    return guarded(look)


def _newest_report(stand: Stand) -> str | None:
    """The page of the newest report in the Prefect UI; None without one, or while Prefect does not answer."""
    info = load_info(stand.home)
    url = stand.settings.prefect_api_url or (info and info.prefect_api_url)
    if not url:
        return None
    with suppress(StandError), PrefectApi(url, timeout_s=PREFECT_S) as api:
        newest = api.newest_artifact(REPORT)
        return None if newest is None else f"{url.rstrip('/').removesuffix('/api')}{report_page(newest)}"
    return None


def _figures(hours: int) -> Snapshot | None:
    """What the lanes did in the last hours; None while no database of Lanes answers."""
    try:
        pool = engine(database_url())
    except SetupError:
        return None
    try:
        with pool.begin() as connection:
            now = clock(connection)
            return snapshot.take(connection, since=now - timedelta(hours=hours), now=now)
    except DBAPIError:
        return None
    finally:
        pool.dispose()
