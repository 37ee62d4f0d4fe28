"""The commands for figures: explain a change of the batch share, rebuild figures from the facts, serve them to Prometheus."""

import signal
import sys
import threading
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from lanes.commands import running
from lanes.commands.options import AsJson
from lanes.commands.options import parse_since as moment
from lanes.errors import SetupError
from lanes.promises.decisions import GUARDS, HOUR
from lanes.promises.incident import EVERYBODY
from lanes.report.table import Table, figure, label
from lanes.routing.mix import MixPart, compute_change, sentence
from lanes.settings import Settings
from lanes.stand.runs_with import runs_with
from lanes.stand.whereabouts import find_checkout, find_home
from lanes.store import asking
from lanes.store.database import clock as database_clock
from lanes.store.figures import folding
from lanes.store.figures.folding import Rebuilt
from lanes.store.routing import mix
from lanes.store.routing.mix import RoutingChange
from lanes.store.workload import workloads
from lanes.text import plain
from lanes.units import MISSING, clock, pluralize
from lanes.words import Reason

LONGEST = timedelta(days=36_500)
# The kinds of change that may explain a reason's part.
BEHIND = {Reason.SPLIT: ("split", "rollout"), **dict.fromkeys(GUARDS, ("incident", "budget"))}


@running.command
def why(workload: str | None = None, *, since: str = "1d", as_json: AsJson = False) -> None:
    """Explain why the share of batch changed: by reasons, consumers and versions, with the changes that people made.

    A period is compared with the same hours a week before; if there were no items then, with the time just before the period.
    The period begins at a whole hour. The parts add up to the change. Fallbacks, sheds and rescues are not counted by consumer.

    Exit code 2 when the moment cannot be read, or when there is no such workload.

    Example: lanes why tickets --since 1d

    Args:
        workload: The workload, with a table of the parts. The default: every workload that received items.
        since: When the period begins: a span such as 2h or 7d, or a moment.
    """
    with running.transaction() as (connection, now):
        if workload is not None:
            workloads.check_known(connection, workload)
        began = max(moment(since, now, "--since "), now - LONGEST)
        ask = asking.through(connection)
        if began >= now:
            raise running.WrongUsage(f'--since "{since}" has not passed yet')
        routed = mix.periods(ask, workload, since=began, until=now)
        meanwhile = mix.changes(ask, workload, since=began - HOUR, until=now)
    reports, parts = list[dict[str, object]](), list[MixPart]()
    for name, (baseline, counts) in routed.items():
        change = compute_change(counts)
        own = [each for each in meanwhile if each.workload in (name, EVERYBODY)]
        message = sentence(name, change, lambda reason, own=own: _find_change(reason, own))
        reports.append({"workload": name, "said": message, "compared_with": baseline})
        if change is not None:
            parts = sorted(change.parts, key=lambda each: -abs(each.change))
            reports[-1] |= {**change._asdict(), "parts": [each._asdict() for each in parts]}
    if as_json:
        running.print_json(
            {"workloads": reports, "changes": [each._asdict() for each in meanwhile]}
        )
        return
    for each in reports or [{"said": "No item was received in that time, or in the one before."}]:
        print(plain(each["said"], most=1_000))
    if workload is not None and parts:
        table = Table(
            "Parts of the change",
            parts,
            label("Reason", lambda of: of.reason),
            label("Consumer", lambda of: of.consumer or MISSING),
            label("Version", lambda of: str(of.version or MISSING)),
            figure("Points", "of the change", lambda of: f"{100 * of.change:+.1f}"),
        )
        running.print_table(table, width=100)
    for each in meanwhile:
        print(plain(f"{clock(each.at, beside=now)} {each.workload}: {each.said}", most=300))


def _find_change(reason: str, meanwhile: Iterable[RoutingChange]) -> str:
    """Return the newest change that may explain a reason's part, as a clause, or an empty text."""
    for change in meanwhile:
        if reason in BEHIND and change.kind in BEHIND[Reason(reason)]:
            incident = change.kind == "incident"
            return (
                f" during {change.said.partition(':')[0]}" if incident else f" since {change.said}"
            )
    return ""


@running.command
def figures(
    what: Literal["rebuild"],
    /,
    *,
    since: str | None = None,
    until: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild the figures of a period from the facts, in whole days of UTC; nothing else is changed.

    The lanes continue during the rebuild, and readers see each day either as it was or as rebuilt. Reads that were deleted by
    age are no longer counted afterwards. Exit code 1 while another process rebuilds, 2 when a moment cannot be read.

    Args:
        what: The action.
        since: A span such as 2h or 7d, or a moment. The default: the first fact.
        until: As --since. The default: now.
    """
    from rich.progress import Progress  # imported late, because `lanes metrics` runs without rich

    from lanes.stand.progress import Console

    with running.database(direct=True) as pool:
        with pool.begin() as connection:
            now = database_clock(connection)
        first = None if since is None else moment(since, now)
        last = now if until is None else moment(until, now)
        with Progress(console=Console(stderr=True), transient=True) as progress_bar:
            task = progress_bar.add_task("rebuilding", total=None)

            def show_day(done: Rebuilt, whole: int) -> None:
                progress_bar.update(
                    task, description=f"{done.day:%Y-%m-%d}", total=whole, advance=1
                )

            days = folding.rebuild(pool, since=first, until=last, told=show_day)
    facts = sum(each.facts for each in days)
    message = "there are no facts in that period"
    if days:
        period = f"{days[0].day:%Y-%m-%d} to {days[-1].day:%Y-%m-%d}"
        message = f"{pluralize(len(days), 'day')} rebuilt from {pluralize(facts, 'fact')}: {period}"
    running.tell(
        message, {"days": [asdict(each) for each in days], "facts": facts}, as_json=as_json
    )


@running.command
def metrics(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65_535))] = 9464,
    host: str = "127.0.0.1",
    once: bool = False,
) -> None:
    """Serve the figures to Prometheus at /metrics, in the foreground; a scrape takes milliseconds and needs a reader's rights.

    Scrapers that request OpenMetrics get it. While Postgres does not answer, /metrics reports `lanes_up 0`; it recovers by
    itself. /healthz answers while the program runs. SIGTERM or Ctrl-C ends the program.

    Example: lanes metrics --host 0.0.0.0

    Exit code 1 when the address is in use.

    Args:
        port: The port. 0: any free port, which is printed.
        host: The address to listen on. The figures name workloads, hosts and costs: only Prometheus should reach it.
        once: Print the figures once and exit.
    """
    from lanes.stand.metrics import exposition, server

    settings = Settings.read()
    runs = runs_with(settings, find_home(settings, find_checkout().resolve()))
    with running.database() as pool:
        if once:
            sys.stdout.write(exposition(pool, runs))
            return
        try:
            serving = server(pool, runs, host, port)
        except OSError as error:
            message = f"{host}:{port} cannot be used: {error.strerror}; name another --port"
            raise SetupError(message) from None
        with serving:
            # It must run in a thread other than that of `serve_forever`, which a signal interrupts.
            def stop(*_: object) -> None:
                threading.Thread(target=serving.shutdown).start()

            for each in (signal.SIGTERM, signal.SIGINT):
                signal.signal(each, stop)
            bound, port = serving.server_address[:2]
            print(f"http://{bound!s}:{port}/metrics", flush=True)
            serving.serve_forever(poll_interval=0.2)
