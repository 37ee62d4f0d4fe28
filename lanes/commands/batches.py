"""The commands about batches: what is open, what a person decides about one, and sending one now."""

import getpass
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, Engine

from lanes.batch.batch import BatchDecision, sentence
from lanes.batch.departure import announcement
from lanes.commands.options import NONE_GIVEN, AsJson, Why
from lanes.commands.running import on_database, print_json, screen
from lanes.ids import BatchId
from lanes.report.links import run_page
from lanes.report.table import explained
from lanes.settings import Settings
from lanes.stand import reaching
from lanes.standing import runs
from lanes.store.batch.batches import outstanding
from lanes.store.database import clock
from lanes.store.settling import decisions
from lanes.text import plain
from lanes.units import clock as written
from lanes.units import usd

Sure = Annotated[
    bool, Parameter(name="--yes", negative="", help="Do it. Without, only say what it may cost.")
]
Batch = Annotated[int, Parameter(help="Its number, as `lanes batches` says it.")]
LEGEND = {
    "Items": "that it still owns",
    "Since": "intended",
    "Again": "what sending them again costs, estimated",
    "At most": "what the provider can bill for them",
}


def batches(*, as_json: AsJson = False) -> int:
    """Show the open batches: what each holds, what sending it again would cost, and the most it can be billed."""

    def show(pool: Engine) -> int:
        with pool.begin() as connection:
            now = clock(connection)
            found = decisions.all_stakes(connection, now=now)
        if as_json:
            print_json(
                [{**asdict(each), "intended_at": at, "note": note} for each, at, note in found]
            )
            return 0
        console = screen(140)
        if not found:
            console.print("No batch is open.")
            return 0
        table = Table(
            "Batch",
            "Workload",
            "State",
            "Items",
            "Since",
            "At the provider",
            "Again",
            "At most",
            "Note",
        )
        for each, at, note in found:
            table.add_row(
                str(each.batch_id),
                Text(plain(each.workload, most=40)),
                each.state,
                f"{each.items:,}",
                written(at, beside=now),
                each.provider_batch_id or "-",
                usd(each.again_usd),
                usd(each.most_usd),
                Text(plain(note or "", most=200)),
            )
        console.print(table)
        console.print(explained(LEGEND))
        console.print(
            "`lanes adopt`, `lanes resubmit` and `lanes give-up` say what they may cost before they do it."
        )
        return 0

    return on_database(show)


def adopt(batch: Batch, provider_batch: str, *, yes: Sure = False, as_json: AsJson = False) -> int:
    """Say which batch at the provider an open one is, such as msgbatch_01ab. Its first result proves or disproves it.

    Exit code 1 when it cannot be: no such open batch, or it is another for certain.
    """

    def do(connection: Connection, now: datetime) -> str:
        return decisions.adopt(connection, BatchId(batch), provider_batch, now=now)

    return _decide(BatchDecision.ADOPT, batch, do, yes, as_json)


def resubmit(
    batch: Batch, *, why: Why = NONE_GIVEN, yes: Sure = False, as_json: AsJson = False
) -> int:
    """Send the items of an open batch again with the next one. What the provider works off all the same is paid twice.

    Exit code 1 when there is no such open batch.
    """

    def do(connection: Connection, now: datetime) -> str:
        return decisions.resubmit(
            connection, BatchId(batch), who=getpass.getuser(), why=why, now=now
        )

    return _decide(BatchDecision.RESUBMIT, batch, do, yes, as_json)


def give_up(
    batch: Batch, *, why: Why = NONE_GIVEN, yes: Sure = False, as_json: AsJson = False
) -> int:
    """Fail the items of an open batch; `lanes retry` brings them back.

    Exit code 1 when there is no such open batch.
    """

    def do(connection: Connection, now: datetime) -> str:
        return decisions.give_up(
            connection, BatchId(batch), who=getpass.getuser(), why=why, now=now
        )

    return _decide(BatchDecision.GIVE_UP, batch, do, yes, as_json)


def _decide(
    decision: BatchDecision,
    batch: int,
    do: Callable[[Connection, datetime], str],
    yes: bool,
    as_json: bool,
) -> int:
    def decide(pool: Engine) -> int:
        with pool.begin() as connection:
            now = clock(connection)
            at_stake = decisions.stakes(connection, BatchId(batch), now=now)
            said = do(connection, now) if yes else sentence(decision, at_stake)
        if as_json:
            print_json({**asdict(at_stake), "decision": decision, "done": yes, "said": said})
        else:
            print(said if yes else f"{said}.\nNothing was changed; add --yes to do it.")
        return 0

    return on_database(decide)


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
