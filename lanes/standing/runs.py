"""The deployments by name, and the runs of them that Lanes itself asks for: the one place that knows their parameters.

A command asks over HTTP (`lanes.stand.prefect_api`), a run by Prefect's SDK (`tasks.asking`); both take what stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class Deployment(StrEnum):
    """Every deployment of prefect.yaml. Its flow has the same name."""

    ANSWER = "answer"
    SUBMIT = "submit"
    COLLECT = "collect"
    WATCH = "watch"
    RECONCILE = "reconcile"
    REPLAY = "replay"
    MIGRATE = "migrate"
    ACT = "act"
    ADVISE = "advise"
    REPORT = "report"
    TIDY = "tidy"

    @property
    def address(self) -> str:
        """How Prefect finds it: the flow's name and its own."""
        return f"{self}/{self}"


@dataclass(frozen=True)
class WantedRun:
    """A run of a deployment. Whoever asks for one under the same `key` asks for the same run."""

    deployment: Deployment
    parameters: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None

    def once_a_minute(self, why: str, now: datetime) -> "WantedRun":
        """The same; all who ask for it within this minute, for this reason, ask for one run."""
        return replace(self, key=f"{why} {now:%Y-%m-%dT%H:%M}")


def answer(*, standing: bool = False) -> WantedRun:
    """A drain; a standing one takes over from the one that is kept warm."""
    return WantedRun(Deployment.ANSWER, {"wake": {"standing": True}} if standing else {})


def collect() -> WantedRun:
    """The run that brings batches home, and takes over from the one before it."""
    return WantedRun(Deployment.COLLECT)


def watch() -> WantedRun:
    """The run that judges the promises, and takes over from the one before it."""
    return WantedRun(Deployment.WATCH)


def submit(workload: str) -> WantedRun:
    """What waits of the workload for the batch lane leaves now."""
    return WantedRun(Deployment.SUBMIT, {"departure": {"workload": workload}})


def submitted_by(parameters: Mapping[str, Any]) -> str | None:
    """The workload that a run of `submit` with these parameters is for; None is all of them."""
    return (parameters.get("departure") or {}).get("workload")


def migrate() -> WantedRun:
    """A rollout that no run leads is led on."""
    return WantedRun(Deployment.MIGRATE)


def report(since: datetime) -> WantedRun:
    """The report of everything received from `since` on is written."""
    return WantedRun(Deployment.REPORT, {"period": {"since": since.isoformat()}})


def act(**known: Any) -> WantedRun:
    """A person's deed by hand, as far as it is `known`: the form asks for the rest."""
    return WantedRun(Deployment.ACT, {"action": known})
