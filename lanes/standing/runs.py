"""The deployments by name, and their runs that Lanes requests, with the parameters.

Commands request runs over HTTP (`lanes.stand.prefect_api`); runs request other runs with Prefect's SDK (`tasks.runs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class Deployment(StrEnum):
    """A deployment of prefect.yaml; its flow has the same name."""

    ANSWER = "answer"
    DEPART = "depart"
    COLLECT = "collect"
    WATCH = "watch"
    RECONCILE = "reconcile"
    REPLAY = "replay"
    MIGRATE = "migrate"
    PAUSE = "pause"
    RESUME = "resume"
    ACCEPT_QUALITY = "accept_quality"
    SET_SPLIT = "set_split"
    END_SPLIT = "end_split"
    SET_BUDGET = "set_budget"
    REMOVE_BUDGET = "remove_budget"
    SET_OVERHEAD = "set_overhead"
    DECIDE_BATCH = "decide_batch"
    HANDLE_INCIDENT = "handle_incident"
    HOLD_ROLLOUT = "hold_rollout"
    ABORT_ROLLOUT = "abort_rollout"
    PROMOTE_ROLLOUT = "promote_rollout"
    EXTEND_ROLLOUT = "extend_rollout"
    DECIDE_PROPOSAL = "decide_proposal"
    PROMOTE = "promote"
    DEMOTE = "demote"
    DROP = "drop"
    RETRY = "retry"
    JOB = "job"
    CANCEL = "cancel"
    FORGET = "forget"
    EXPLAIN = "explain"
    PREVIEW = "preview"
    LABEL = "label"
    ADVISE = "advise"
    REPORT = "report"
    TIDY = "tidy"

    @property
    def address(self) -> str:
        """The name by which Prefect finds the deployment: flow name and deployment name."""
        return f"{self}/{self}"


@dataclass(frozen=True)
class WantedRun:
    """A run of a deployment; requests with the same `key` are one run."""

    deployment: Deployment
    parameters: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None

    def request(self) -> dict[str, Any]:
        """Return the body of the request to Prefect.

        Prefect does not enforce the form's choices, because a newly published workload is added to them with a short delay;
        the flow validates the workload.
        """
        keyed = {"idempotency_key": self.key} if self.key else {}
        return {"parameters": dict(self.parameters), "enforce_parameter_schema": False, **keyed}

    def once_a_minute(self, why: str, now: datetime) -> "WantedRun":
        """Return the same run with a key that all requests for this reason share within a minute."""
        return replace(self, key=f"{why} {now:%Y-%m-%dT%H:%M}")


def answer(*, standing: bool = False) -> WantedRun:
    """Return a run that starts a drain; a `standing` one takes over from the drain that is kept warm."""
    return WantedRun(Deployment.ANSWER, {"wake": {"standing": True}} if standing else {})


def collect() -> WantedRun:
    """Return the run that collects batches and takes over from the previous one."""
    return WantedRun(Deployment.COLLECT)


def watch() -> WantedRun:
    """Return the run that evaluates the promises and takes over from the previous one."""
    return WantedRun(Deployment.WATCH)


def reconcile() -> WantedRun:
    """Return the run that looks for unconfirmed batches at the provider and compares its bill with the ledger."""
    return WantedRun(Deployment.RECONCILE)


def replay(workload: str) -> WantedRun:
    """Return the run that reprocesses the workload's stream with the version in force."""
    return WantedRun(Deployment.REPLAY, {"reading": {"workload": workload}})


def depart(workload: str | None) -> WantedRun:
    """Return the run that sends the waiting batch work of one workload, or of all."""
    return WantedRun(Deployment.DEPART, {"departure": {"workload": workload}})


def departing_workload(parameters: Mapping[str, Any]) -> str | None:
    """Return the workload of a run of `depart` with these parameters; None stands for all workloads."""
    return (parameters.get("departure") or {}).get("workload")


def migrate(**order: str) -> WantedRun:
    """Return the run that starts the rollout of `order`; without an order, it resumes an open rollout that has no run."""
    return WantedRun(Deployment.MIGRATE, {"order": order} if order else {})


def set_split(workload: str) -> WantedRun:
    """Return the form that sets a workload's split."""
    return WantedRun(Deployment.SET_SPLIT, {"split": {"workload": workload}})


def pause(workload: str) -> WantedRun:
    """Return the form that pauses a workload."""
    return WantedRun(Deployment.PAUSE, {"action": {"workload": workload}})


def accept_quality(workload: str) -> WantedRun:
    """Return the form that accepts a workload's new answers as the quality reference."""
    return WantedRun(Deployment.ACCEPT_QUALITY, {"action": {"workload": workload}})


def set_budget(workload: str, **known: Any) -> WantedRun:
    """Return the form that sets a budget, with the `known` fields filled in."""
    return WantedRun(Deployment.SET_BUDGET, {"budget": {"workload": workload, **known}})


def decide_batch(workload: str, **known: Any) -> WantedRun:
    """Return the form that decides about an open batch, with the `known` fields filled in."""
    return WantedRun(Deployment.DECIDE_BATCH, {"decision": {"workload": workload, **known}})


def handle_incident(**known: Any) -> WantedRun:
    """Return the form that silences or acknowledges an incident, with the `known` fields filled in."""
    return WantedRun(Deployment.HANDLE_INCIDENT, {"action": known})


def decide_proposal(workload: str, proposal: int) -> WantedRun:
    """Return the form that decides about a proposed rollout."""
    known = {"workload": workload, "proposal": proposal}
    return WantedRun(Deployment.DECIDE_PROPOSAL, {"action": known})
