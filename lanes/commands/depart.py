"""`lanes depart`: what waits for the batch lane leaves now rather than in its window."""

import sys

from sqlalchemy import Engine

from lanes.batch.departure import announcement
from lanes.commands.guarded import on_database
from lanes.commands.output import AsJson, print_json
from lanes.report.links import run_page
from lanes.settings import Settings
from lanes.stand import reaching
from lanes.standing import runs
from lanes.store.batch.batches import outstanding
from lanes.store.database import clock


def depart(workload: str, *, as_json: AsJson = False) -> int:
    """Send a workload's batch now, whatever its off-peak window says, by a run of the deployment `depart`.

    `lanes depart archive`

    It says how many items are ready, names the run, and returns before they have left. Where nothing is ready it says what
    the open ones wait for, with exit code 0.

    Exit code 1 when the workload is paused or Prefect does not answer, 2 when there is no such workload.
    """

    def ask(pool: Engine) -> int:
        with pool.begin() as connection:
            now = clock(connection)
            waiting = outstanding(connection, workload, now=now)
        said, run, page = announcement(waiting, now), None, None
        if waiting.may_leave:
            with reaching.prefect(Settings.read()) as api:
                run = api.run(runs.depart(workload))
                page = f"{reaching.ui_url(api.url)}{run_page(run)}"
        if as_json:
            print_json(
                {
                    "workload": workload,
                    "ready": waiting.ready,
                    "run": run,
                    "url": page,
                    "said": said,
                }
            )
        else:
            print(said, file=sys.stderr if waiting.paused_at else sys.stdout)
            if page is not None:
                print(f"run: {page}")
        return 1 if waiting.paused_at else 0

    return on_database(ask)
