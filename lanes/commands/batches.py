"""The commands for batches: list open ones, decide about one, and send one now."""

import getpass
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial

from lanes.batch.batch import BatchDecision, Stakes, sentence
from lanes.batch.departure import announcement
from lanes.commands.options import NONE_GIVEN, AsJson, Why
from lanes.commands.running import command, print_json, print_table, tell, transaction
from lanes.ids import BatchId
from lanes.report.table import Table, figure, label, phrase
from lanes.stand import reaching
from lanes.standing import runs
from lanes.store.batch.batches import count_outstanding
from lanes.store.settling import decisions
from lanes.text import plain
from lanes.units import MISSING, clock, count, usd

SAID_BEFORE = (
    "`lanes adopt`, `lanes resubmit` and `lanes give-up` say what they may cost before they do it."
)
Decide = Callable[..., str]
OpenBatch = tuple[Stakes, datetime, str | None]  # its stakes, the time of its intent, its note


@command
def batches(*, as_json: AsJson = False) -> None:
    """Show the open batches: their items, the cost of sending them again, and the most that can be billed for them."""
    with transaction() as (connection, now):
        rows = decisions.list_stakes(connection, now=now)
    if as_json:
        print_json([{**asdict(each), "intended_at": at, "note": note} for each, at, note in rows])
    elif not rows:
        print("No batch is open.")
    else:
        print_table(_table(rows, now), width=140)
        print(SAID_BEFORE)


def _table(rows: Sequence[OpenBatch], now: datetime) -> Table[OpenBatch]:
    again = "what sending them again costs, estimated"
    return Table(
        "Open batches",
        rows,
        label("Batch", lambda of: str(of[0].batch_id)),
        label("Workload", lambda of: plain(of[0].workload, most=40)),
        label("State", lambda of: of[0].state),
        figure("Items", "that it still owns", lambda of: count(of[0].items)),
        phrase("Since", "intended", lambda of: clock(of[1], beside=now)),
        label("At the provider", lambda of: of[0].provider_batch_id or MISSING),
        figure("Again", again, lambda of: usd(of[0].again_usd)),
        figure("At most", "what can be billed for them", lambda of: usd(of[0].most_usd)),
        label("Note", lambda of: of[2] or ""),
    )


@command
def adopt(batch: int, provider_batch: str, *, yes: bool = False, as_json: AsJson = False) -> None:
    """Link an open batch to a batch at the provider, such as msgbatch_01ab. The first result confirms or refutes this link.

    Exit code 1 when there is no such open batch, or the two batches certainly do not match.

    Args:
        batch: Its number, as shown by `lanes batches`.
        yes: Do it. Without this option, only show the possible cost.
    """
    do = partial(decisions.adopt, provider_batch_id=provider_batch)
    _decide(BatchDecision.ADOPT, batch, do, yes, as_json)


@command
def resubmit(
    batch: int, *, why: Why = NONE_GIVEN, yes: bool = False, as_json: AsJson = False
) -> None:
    """Send the items of an open batch again with the next one. Items that the provider processes anyway are paid twice.

    Exit code 1 when there is no such open batch.

    Args:
        batch: Its number, as shown by `lanes batches`.
        yes: Do it. Without this option, only show the possible cost.
    """
    do = partial(decisions.resubmit, who=getpass.getuser(), why=why)
    _decide(BatchDecision.RESUBMIT, batch, do, yes, as_json)


@command
def give_up(
    batch: int, *, why: Why = NONE_GIVEN, yes: bool = False, as_json: AsJson = False
) -> None:
    """Fail the items of an open batch; `lanes retry` restores them.

    Exit code 1 when there is no such open batch.

    Args:
        batch: Its number, as shown by `lanes batches`.
        yes: Do it. Without this option, only show the possible cost.
    """
    do = partial(decisions.give_up, who=getpass.getuser(), why=why)
    _decide(BatchDecision.GIVE_UP, batch, do, yes, as_json)


def _decide(to: BatchDecision, batch: int, do: Decide, yes: bool, as_json: bool) -> None:
    with transaction() as (connection, now):
        at_stake = decisions.stakes(connection, BatchId(batch), now=now)
        message = do(connection, BatchId(batch), now=now) if yes else sentence(to, at_stake)
    data = {**asdict(at_stake), "decision": to, "done": yes, "said": message}
    output = message if yes else f"{message}.\nNothing was changed; add --yes to do it."
    tell(output, data, as_json=as_json)


@command
def depart(workload: str, *, as_json: AsJson = False) -> int:
    """Send a workload's batch now, outside its off-peak window too, by a run of the deployment `depart`.

    `lanes depart archive`

    The command prints the number of ready items and the run, and returns before the items have left. If none is ready, it
    prints why the open items wait, with exit code 0.

    Exit code 1 when the workload is paused or Prefect does not answer, 2 when there is no such workload.
    """
    with transaction() as (connection, now):
        pending_work = count_outstanding(connection, workload, now=now)
    message, run, page = announcement(pending_work, now), None, None
    if pending_work.may_leave:
        run, page = reaching.ask_for(runs.depart(workload))
    if as_json:
        data = {"workload": workload, "ready": pending_work.ready, "run": run, "url": page}
        print_json({**data, "said": message})
    else:
        print(message, file=sys.stderr if pending_work.paused_at else sys.stdout)
        if page is not None:
            print(f"run: {page}")
    return 1 if pending_work.paused_at else 0
