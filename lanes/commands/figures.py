"""`lanes figures` rebuilds the figures of a period from the facts; `lanes metrics` serves figures to Prometheus."""

import signal
import sys
import threading
from dataclasses import asdict
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from lanes.commands.options import AsJson
from lanes.commands.options import since as moment
from lanes.commands.running import command, database, tell
from lanes.errors import SetupError
from lanes.settings import Settings
from lanes.stand.runs_with import runs_with
from lanes.stand.whereabouts import find_checkout, find_home
from lanes.store.database import clock
from lanes.store.figures import folding
from lanes.store.figures.folding import Rebuilt
from lanes.units import counted


@command
def figures(
    what: Literal["rebuild"],
    /,
    *,
    since: str | None = None,
    until: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild the figures of a period from the facts, whole days of UTC at a time; nothing else is changed.

    The lanes go on meanwhile, and readers see each day as it was or as it is. Reads that were deleted by age are no longer
    counted afterwards. Exit code 1 while another process rebuilds, 2 when a moment cannot be read.

    Args:
        what: What is done with them.
        since: A span such as 2h or 7d, or a moment; else from the first fact on.
        until: As --since; else until now.
    """
    from rich.progress import Progress  # `lanes metrics` runs without rich

    from lanes.stand.progress import Console

    with database(direct=True) as pool:
        with pool.begin() as connection:
            now = clock(connection)
        first = None if since is None else moment(since, now)
        last = now if until is None else moment(until, now)
        with Progress(console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task("rebuilding", total=None)

            def told(done: Rebuilt, whole: int) -> None:
                shown.update(task, description=f"{done.day:%Y-%m-%d}", total=whole, advance=1)

            days = folding.rebuild(pool, since=first, until=last, told=told)
    facts = sum(each.facts for each in days)
    said = "there are no facts in that period"
    if days:
        period = f"{days[0].day:%Y-%m-%d} to {days[-1].day:%Y-%m-%d}"
        said = f"{counted(len(days), 'day')} rebuilt from {counted(facts, 'fact')}: {period}"
    tell(said, {"days": [asdict(each) for each in days], "facts": facts}, as_json=as_json)


@command
def metrics(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65_535))] = 9464,
    host: str = "127.0.0.1",
    once: bool = False,
) -> None:
    """Serve the figures to Prometheus at /metrics, in the foreground; a scrape takes milliseconds and needs a reader's rights.

    OpenMetrics is served to scrapers that ask for it. While Postgres does not answer, /metrics tells `lanes_up 0`, and goes on
    by itself afterwards. /healthz answers while the program runs. SIGTERM or Ctrl-C ends it.

    Example: lanes metrics --host 0.0.0.0

    Exit code 1 when the address is in use.

    Args:
        port: The port. 0: any free one, which is printed.
        host: The address to listen at. The figures name workloads, hosts and costs: only Prometheus should reach it.
        once: Print the figures once instead, and end.
    """
    from lanes.stand.metrics import exposition, server

    settings = Settings.read()
    runs = runs_with(settings, find_home(settings, find_checkout().resolve()))
    with database() as pool:
        if once:
            sys.stdout.write(exposition(pool, runs))
            return
        try:
            serving = server(pool, runs, host, port)
        except OSError as error:
            said = f"{host}:{port} cannot be used: {error.strerror}; name another --port"
            raise SetupError(said) from None
        with serving:
            # It must run in another thread than `serve_forever`, which a signal interrupts.
            def stop(*_: object) -> None:
                threading.Thread(target=serving.shutdown).start()

            for each in (signal.SIGTERM, signal.SIGINT):
                signal.signal(each, stop)
            bound, port = serving.server_address[:2]
            print(f"http://{bound!s}:{port}/metrics", flush=True)
            serving.serve_forever(poll_interval=0.2)
