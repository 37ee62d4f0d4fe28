"""`lanes metrics`: the figures for Prometheus."""

import signal
import sys
import threading
from typing import Annotated

from cyclopts import Parameter, validators

from lanes.commands.running import command, database
from lanes.errors import SetupError
from lanes.settings import Settings
from lanes.stand.runs_with import runs_with
from lanes.stand.whereabouts import find_checkout, find_home


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
