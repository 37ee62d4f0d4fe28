"""The commands that steer traffic: pause, resume, split and rollout."""

import getpass
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators
from sqlalchemy import Connection

from lanes.commands import actions
from lanes.commands.options import NONE_GIVEN, AsJson, Why
from lanes.commands.running import WrongUsage, command, database, perform, tell, transaction
from lanes.errors import ActionRefused, StandError
from lanes.report.rollout import describe_state
from lanes.rollouts.playbook import Direction, load, playbook_names
from lanes.rollouts.rollout import Rollout
from lanes.settings import Settings
from lanes.stand import reaching
from lanes.standing import runs
from lanes.store.rollouts import rollouts
from lanes.store.workload import workloads
from lanes.words import RolloutState

LOOK_S = 2.0
OnlyReplay = Annotated[bool, Parameter(negative="")]


@command
def pause(
    workload: str, *, replay: OnlyReplay = False, why: Why = NONE_GIVEN, as_json: AsJson = False
) -> int:
    """Stop serving a workload. Its items are admitted and routed, and wait; answers that are under way are collected.

    Exit code 2 when there is no such workload.

    Args:
        replay: Pause only its running replay; its items are served as before.
    """
    return perform(actions.Pause, workload, why, as_json, replay=replay)


@command
def resume(
    workload: str, *, replay: OnlyReplay = False, why: Why = NONE_GIVEN, as_json: AsJson = False
) -> int:
    """Serve a paused workload again.

    Exit code 2 when there is no such workload.

    Args:
        replay: Resume only its paused replay.
    """
    return perform(actions.Resume, workload, why, as_json, replay=replay)


@command
def split(
    workload: str,
    *,
    percent: Annotated[float | None, Parameter(validator=validators.Number(gte=0, lte=100))] = None,
    consumer: str | None = None,
    end: bool = False,
    why: Why = NONE_GIVEN,
    as_json: AsJson = False,
) -> int:
    """Show the splits of a workload, set one, or end a consumer's own split.

    Example: lanes split tickets --percent 25 --consumer howto --why "a quarter"

    Exit code 1 while an open rollout moves this split, 2 when there is no such workload or an argument is missing.

    Args:
        percent: Share of undecided items that goes to real-time, 0 to 100. Without it, the splits are shown.
        consumer: The consumer whose items it applies to. The default: all consumers without a split of their own.
        end: End the consumer's own split.
    """
    if end and (consumer is None or percent is not None):
        raise WrongUsage("--end takes a --consumer and no --percent")
    if end:
        return perform(actions.EndSplit, workload, why, as_json, consumer=consumer)
    if percent is not None:
        of = {"percent": percent, "consumer": consumer or ""}
        return perform(actions.SetSplit, workload, why, as_json, **of)
    if consumer is not None:
        raise WrongUsage("say --percent, or --end")
    with transaction() as (connection, _):
        workloads.check_known(connection, workload)
        rows = workloads.splits(connection).of_workload(workload)
    lines = [
        f"{each.consumer or 'everyone else'}: {each.basis_points / 100:g} % to real-time"
        for each in rows
    ]
    tell("\n".join(lines), {"splits": [asdict(each) for each in rows]}, as_json=as_json)
    return 0


@Parameter(name="*")
@dataclass(frozen=True)
class RolloutStart:
    """The rollout that `start` requests.

    Attributes:
        playbook: To start: a file of migrations/playbooks, without its extension, or block:NAME.
        file: To start: the path of your own playbook on the worker's host.
        consumer: To start: move only this consumer's split.
    """

    playbook: str = "batch-to-realtime"
    file: Path | None = None
    consumer: str | None = None


@command
def rollout(
    do: Literal["start", "approve", "decline", "hold", "promote", "extend", "abort", "watch"],
    workload: str,
    *,
    start: RolloutStart = RolloutStart(),
    hours: int = 24,
    why: Why = NONE_GIVEN,
    as_json: AsJson = False,
) -> int:
    """Start a rollout of a workload's traffic by a playbook, answer its question, hold it, abort it, or watch it.

    start and approve return at once; the run of the deployment `migrate` does the rest. hold keeps the step in force until
    approve or decline. promote takes the next step, even if gates have not passed; extend gives the step more time. watch
    prints each change until the rollout has ended.

    Example: lanes rollout start archive --playbook batch-to-realtime --why "readers want it sooner"

    Exit code 1 when it is refused, or when a watched rollout was rolled back or aborted; 2 when there is no such workload.

    Args:
        do: The action on the rollout.
        hours: To extend: additional hours for the step.
    """
    who = getpass.getuser()
    match do:
        case "start":
            if start.file is None and _moves_version(start.playbook):
                raise ActionRefused(
                    f'playbook "{start.playbook}" moves a new version: '
                    f"`lanes publish FILE --canary {start.playbook}` starts it"
                )
            order = {"workload": workload, "playbook": start.playbook, "who": who, "why": why}
            order |= {"file": str(start.file)} if start.file else {}
            order |= {"consumer": start.consumer} if start.consumer else {}
            return _start(order, as_json)
        case "approve" | "decline":
            return _answer(workload, {do: True, "who": who, "why": why}, as_json)
        case "hold":
            return perform(actions.HoldRollout, workload, why, as_json)
        case "promote":
            return perform(actions.PromoteRollout, workload, why, as_json)
        case "extend":
            return perform(actions.ExtendRollout, workload, why, as_json, hours=hours)
        case "abort":
            ended = perform(actions.AbortRollout, workload, why, as_json)
            _cancel_run_of(workload, f"aborted by {who}")
            return ended
        case "watch":
            return _watch(workload, as_json)


def _moves_version(playbook: str) -> bool:
    """Return whether a playbook of this checkout moves a version; the run checks that for all other playbooks."""
    return playbook in playbook_names() and load(playbook).direction is Direction.VERSION


def _start(order: dict[str, str], as_json: bool) -> int:
    with transaction() as (connection, _):
        workloads.check_known(connection, order["workload"])
    run, page = reaching.ask_for(runs.migrate(**order))
    message = (
        f"{order['workload']}: asked for a rollout by {order.get('file') or order['playbook']}"
    )
    data = {"workload": order["workload"], "said": message, "run": run, "url": page}
    tell(f"{message}\nrun: {page}", data, as_json=as_json)
    return 0


def _answer(workload: str, answer: dict[str, Any], as_json: bool) -> int:
    """Resume the suspended run that waits for approval, with the answer."""
    with transaction() as (connection, _):
        open_rollout = _open(connection, workload)
    if open_rollout.state is not RolloutState.WAITING_APPROVAL or open_rollout.flow_run_id is None:
        raise ActionRefused(f"{describe_state(open_rollout)}: it asks no question now")
    with reaching.prefect(Settings.read()) as api:
        refusal = api.resume(str(open_rollout.flow_run_id), answer)
    if refusal is not None:
        raise ActionRefused(f"the run that asks cannot take the answer yet: {refusal}")
    word = "approved" if "approve" in answer else "declined"
    message = f"{workload}: {word} by {answer['who']}"
    tell(message, {"workload": workload, "said": message}, as_json=as_json)
    return 0


def _cancel_run_of(workload: str, why: str) -> None:
    """Cancel the newest rollout's suspended run; if Prefect is unavailable, the run itself finds that its rollout has ended."""
    with transaction() as (connection, _):
        run_id = rollouts.read_newest_run(connection, workload)
    with suppress(StandError):
        if run_id is not None:
            with reaching.prefect(Settings.read()) as api:
                api.cancel_suspended(str(run_id), why=why)


def _watch(workload: str, as_json: bool) -> int:
    with database() as pool:
        with pool.begin() as connection:
            current, printed_count = _open(connection, workload), 0
        while True:
            with pool.begin() as connection:
                current, log = (
                    rollouts.find(connection, current.id),
                    rollouts.log(connection, current.id),
                )
            for log_entry in log[printed_count:]:
                share = f"{log_entry.basis_points / 100:g} % to {current.goes_to}"
                line = f"{log_entry.at:%Y-%m-%d %H:%M:%S} {log_entry.event}: {share}; {log_entry.why} ({log_entry.who})"
                entry = {
                    "event": log_entry.event,
                    "at": log_entry.at,
                    "who": log_entry.who,
                    "why": log_entry.why,
                }
                tell(line, entry, as_json=as_json)
            printed_count = len(log)
            if not current.is_open:
                print(describe_state(current), file=sys.stderr)
                return 0 if current.state is RolloutState.FINISHED else 1
            sys.stdout.flush()
            time.sleep(LOOK_S)


def _open(connection: Connection, workload: str) -> Rollout:
    workloads.check_known(connection, workload)
    open_rollout = rollouts.read_open(connection, workload)
    if open_rollout is None:
        message = f'workload "{workload}" has no open rollout'
        raise ActionRefused(f"{message}; see lanes.rollout_log for those that ended")
    return open_rollout
