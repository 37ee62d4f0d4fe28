"""Helpers for runs of deployments, and requests to Prefect for new runs.

The helpers provide the database, troubles that are logged once, the stop signal, and the final state of a refused run. A
request for a run has a time limit and does not wait for the run.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import ParamSpec, TypeVar
from uuid import UUID

from prefect import Task, get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.logging import get_run_logger
from rich.console import Console

from blocks.database import DatabaseBlock
from lanes.errors import (
    ActionRefused,
    PlaybookInvalid,
    SetupError,
    StillLocked,
    UnknownItem,
    UnknownWorkload,
)
from lanes.standing import roles
from lanes.standing.runs import Deployment, WantedRun
from lanes.store.database import Database
from lanes.words import BLOCK

P = ParamSpec("P")
R = TypeVar("R")


def plain_task(name: str, run_name: str | None = None) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Return the decorator of a task whose results Prefect neither stores nor reuses from an earlier run."""
    return task(name=name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)


@asynccontextmanager
async def database() -> AsyncIterator[Database]:
    """Yield the database of block `lanes`."""
    block = await DatabaseBlock.aload(BLOCK)
    async with block.connect() as db:
        yield db


@contextmanager
def stop_signals(stop: Callable[[], object] = lambda: None) -> Iterator[asyncio.Event]:
    """Yield an event that is set when the process is asked to end; `stop` is called then, too.

    Prefect's own handler would end the run in the middle of its work.

    Workers, `lanes down`, systemd and Kubernetes send SIGTERM, terminals send SIGINT. Later signals are ignored until the
    process has ended, because the run first reports its end to Prefect. Outside the main thread, signals are not handled. A
    run whose worker was killed is asked to end when it next writes to its log.
    """
    Console.on_broken_pipe = _ask_to_end
    loop, stop_event = asyncio.get_running_loop(), asyncio.Event()

    def stop_once() -> None:
        if not stop_event.is_set():
            stop_event.set()
            stop()

    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        for each in handlers:
            loop.add_signal_handler(each, stop_once)
    except (RuntimeError, ValueError):
        handlers = {}
    try:
        yield stop_event
    finally:
        for each, handler in handlers.items():
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_IGN if stop_event.is_set() else handler)


def _ask_to_end(self: Console) -> None:
    """Send SIGTERM to this process, because no process reads its output; rich would exit at once, during calls."""
    self.quiet = True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.kill(os.getpid(), signal.SIGTERM)


class Troubles:
    """The current errors of one loop, each under a name."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def report(self, name: str, trouble: str) -> None:
        """Log the trouble, unless it was logged before and has not changed."""
        if self._said.get(name) != trouble:
            self._said[name] = trouble
            get_run_logger().warning("%s", trouble)

    def clear(self, name: str) -> None:
        """Forget the trouble, so that it is logged when it occurs again."""
        self._said.pop(name, None)


def summarize_error(error: BaseException) -> str:
    """Describe an error in one line: its class and the first line of its text."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


REFUSALS = (ActionRefused, PlaybookInvalid, SetupError, StillLocked, UnknownItem, UnknownWorkload)
REFUSED = "Refused"  # name of the state, and so of Prefect's event


def refuse(reason: Exception) -> State[str]:
    """Return the final state of a run whose request is refused; its message is the reason."""
    return State(type=StateType.FAILED, name=REFUSED, message=str(reason))


LIMIT_S = 5.0


async def ask_for_run(wanted: WantedRun, *, limit_s: float = LIMIT_S) -> UUID:
    """Request the run, at most once for each key; return its id.

    Raises:
        TimeoutError, httpx.HTTPError, PrefectException: Prefect did not confirm the run within `limit_s` seconds.
    """
    async with asyncio.timeout(limit_s), get_client() as client:
        return await _create(client, await _deployment(client, wanted.deployment), wanted)


async def ask_for_standing(
    run: roles.StandingRun, now: datetime, *, limit_s: float = LIMIT_S
) -> bool:
    """Request a new standing run as `ask_unless_coming` does."""
    return await ask_unless_coming(roles.replacement(run, now), now, limit_s=limit_s)


async def ask_unless_coming(wanted: WantedRun, now: datetime, *, limit_s: float = LIMIT_S) -> bool:
    """Request the run unless a run of its deployment waits for a worker or is starting; return whether it was requested.

    Raises the same errors as `ask_for_run`.
    """
    async with asyncio.timeout(limit_s), get_client() as client:
        deployment = await _deployment(client, wanted.deployment)
        if roles.may_take_role(await _list_runs(client, deployment, now), now):
            return False
        await _create(client, deployment, wanted)
        return True


async def _deployment(client: PrefectClient, of: Deployment) -> UUID:
    return (await client.read_deployment_by_name(of.address)).id


async def _create(client: PrefectClient, deployment: UUID, wanted: WantedRun) -> UUID:
    path = {"id": deployment}
    made = await client.request(
        "POST", "/deployments/{id}/create_flow_run", path_params=path, json=wanted.request()
    )
    return UUID(made.json()["id"])


async def _list_runs(
    client: PrefectClient, deployment: UUID, now: datetime
) -> list[roles.DeploymentRun]:
    wanted = FlowRunFilter.model_validate(
        {
            "deployment_id": {"any_": [deployment]},
            "state": {"type": {"any_": roles.OPEN}},
            "expected_start_time": {"before_": now + roles.SOON},
        }
    )
    runs = await client.read_flow_runs(
        flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=roles.NEWEST
    )
    return [_read_run(each) for each in runs if each.state and each.expected_start_time]


def _read_run(run: FlowRun) -> roles.DeploymentRun:
    assert run.state is not None
    assert run.expected_start_time is not None
    state = run.state.type.value
    since = run.expected_start_time if state == "SCHEDULED" else run.state.timestamp
    return roles.DeploymentRun(state, since)
