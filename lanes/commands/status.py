"""`lanes status`, `lanes report` and `lanes digest`: whether the stand answers, and what the lanes have done."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import psycopg
from cyclopts import Parameter, validators

from lanes.commands.options import AsJson
from lanes.commands.running import command, print_json, print_line, screen, transaction
from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand.kept import Said
from lanes.stand.runs_with import RunsWith, runs_with
from lanes.stand.status import Condition, components, host_reports, workers
from lanes.stand.whereabouts import find_checkout, find_home
from lanes.store.asking import ON_STANDBY, ask_by_driver, clock
from lanes.text import plain
from lanes.workload import prices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lanes.report.snapshot import Snapshot
    from lanes.stand.fleet import FleetWorker
    from lanes.stand.status import ComponentStatus

Hours = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=720))]
WELL = {Condition.RUNNING, Condition.YOURS}
PREFECT_S = 5.0  # the longest time that a request to Prefect may delay the figures


@command
def status(*, hours: Hours = 24, as_json: AsJson = False) -> int:
    """Show each component of the stand, with its log and settings, and the report's first page.

    All of it describes the stand, not this shell: if their settings differ, the output names the variable and what to do.
    `lanes report` also shows sample answers, and `lanes report --all` the remaining figures. JSON has all figures.
    Exit code 1 when a component that should run does not answer, or the figures cannot be read.

    Args:
        hours: Hours to look back.
    """
    settings = Settings.read()
    home = find_home(settings, find_checkout().resolve())
    runs = runs_with(settings, home)
    with ThreadPoolExecutor(3) as executor:
        components_future = executor.submit(components, runs, home)
        workers_future = executor.submit(lambda: workers(runs, reports=host_reports(runs)))
        figures, missing = _figures(hours, runs, executor)
        component_statuses, fleet = components_future.result(), workers_future.result()
    if as_json:
        from pydantic_core import to_jsonable_python

        shown = None if figures is None else to_jsonable_python(figures)
        parts = {"components": [*map(asdict, component_statuses)], "workers": [*map(asdict, fleet)]}
        whole = {**parts, **_build_settings_data(runs), "figures": shown}
        print_json({**whole, "lacking": missing})
    else:
        _print(component_statuses, fleet, runs, figures, missing)
    unread = figures is None and missing is not None
    return 1 if unread or any(each.condition not in WELL for each in component_statuses) else 0


def _print(
    component_statuses: "Sequence[ComponentStatus]",
    fleet: "Sequence[FleetWorker]",
    runs: RunsWith,
    figures: "Snapshot | None",
    missing: str | None,
) -> None:
    from lanes.report import terminal
    from lanes.stand.progress import Console

    console = Console(highlight=False, soft_wrap=True)
    for each in component_statuses:
        where = {"port": each.port, "pid": each.pid, "log": each.log}
        places = ", ".join(f"{name} {value}" for name, value in where.items() if value is not None)
        detail = f"{each.detail} ({places})" if places else each.detail
        print_line(console, each.condition, each.name, detail)
    for worker in fleet:
        print_line(console, "online" if worker.is_online else "offline", "worker", str(worker))
    for variable, value in _settings(runs).items():
        print_line(console, "set", variable, str(value))
    for each in runs.differences:
        sentence = each.sentence.removeprefix(f"{each.variable}: ")
        print_line(console, "differs", each.variable, sentence)
    if missing is not None:
        print_line(console, "lacking", "figures", missing)
    if figures is not None:
        print()
        wide = screen(110)
        wide.print(terminal.main_page(figures))
        if url := _newest_report(runs):
            wide.print(f"Newest report, with charts: {url}", soft_wrap=True)


@command
def report(*, all_: bool = False, hours: Hours = 24, as_json: AsJson = False) -> None:
    """Show what the lanes have done: items that need a person, the lanes, cost, deadlines, quality and three sample answers.

    With --all it shows the second page: routing, batches, packing, caching, capacity, budgets, splits, replays, reads, advice,
    failures and refusals. The deployment `report` writes both pages with charts into Prefect.

    Examples:
    `lanes report --hours 1`

    `lanes report --all`

    Args:
        all_: Show the second page.
        hours: Hours to look back.
    """
    from lanes.report import terminal
    from lanes.store.report import snapshot
    from lanes.store.settling import listing

    with transaction() as (connection, now):
        since = now - timedelta(hours=hours)
        figures = snapshot.take(connection, since=since, now=now)
        samples = listing.samples(connection, since=since)
    if as_json:
        from pydantic_core import to_jsonable_python

        print_json({"figures": to_jsonable_python(figures), "samples": [*map(asdict, samples)]})
        return
    page = terminal.details_page(figures) if all_ else terminal.main_page(figures, samples)
    screen(110).print(page)


@command
def digest(*, as_json: AsJson = False) -> None:
    """Show the digest of the last 24 hours: what the lanes did, quality, incidents, and what needs a person.

    The same digest is posted to Slack once a day, from the hour of LANES_DIGEST_HOUR on.
    """
    from rich.text import Text

    from lanes.report.digest import parts
    from lanes.store.report import digests

    with transaction() as (connection, now):
        sections = parts(digests.take(connection, since=now - timedelta(days=1), now=now))
    if as_json:
        print_json(dict(sections))
        return
    for title, lines in sections:
        screen(110).print(Text(title, "bold"))
        screen(110).print(Text("\n".join(f"  {plain(each, most=300)}" for each in lines)))


def _settings(runs: RunsWith) -> dict[str, Said]:
    return dict((runs.info and runs.info.settings) or {})


def _build_settings_data(runs: RunsWith) -> dict[str, object]:
    """Return the stand's settings, and where this shell's settings differ."""
    return {
        "settings": {variable: asdict(value) for variable, value in _settings(runs).items()},
        "differences": [{**asdict(each), "sentence": each.sentence} for each in runs.differences],
    }


def _newest_report(runs: RunsWith) -> str | None:
    """Return the newest report's address in the Prefect UI, or None if there is none or Prefect does not answer."""
    from lanes.report.links import REPORT, report_page
    from lanes.stand.prefect_api import PrefectApi

    url = runs.prefect_url()
    if not url:
        return None
    with suppress(StandError), PrefectApi.at(url, runs.info, timeout_s=PREFECT_S) as api:
        newest = api.newest_artifact(REPORT)
        if newest is None:
            return None
        return f"{url.rstrip('/').removesuffix('/api')}{report_page(newest)}"
    return None


def _figures(
    hours: int, runs: RunsWith, executor: ThreadPoolExecutor
) -> "tuple[Snapshot | None, str | None]":
    """Return the figures of the last `hours` hours, or None if no database of Lanes answers, and what is missing and why."""
    url = runs.database_url()
    if url is None:
        return None, None
    try:
        with ask_by_driver(url) as ask:
            from lanes.store.report import snapshot

            # preload while the database answers: advice needs the prices and the turnaround model
            executor.submit(prices.load)
            executor.submit(import_module, "lanes.routing.turnaround")
            now, (row,) = clock(ask), ask("select pg_is_in_recovery() as on_standby")
            figures = snapshot.take_through(ask, since=now - timedelta(hours=hours), now=now)
            return figures, ON_STANDBY if row.on_standby else None
    except psycopg.Error as error:
        message = error.diag.message_primary or "it gives no answer"
        return None, f"the database was not read ({message}): run `lanes doctor`"
