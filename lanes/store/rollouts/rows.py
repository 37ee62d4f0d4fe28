"""A row of `rollout` as a `Rollout`."""

from typing import Any

from lanes.rollouts.playbook import Playbook
from lanes.rollouts.rollout import Approval, HoldReason, Rollout
from lanes.words import RolloutState


def of_row(row: Any) -> Rollout:
    """Return the rollout of a row that has the columns of `rollout`."""
    approval = (
        Approval(True, row.approved_by, row.approved_why or "")
        if row.approved_by is not None
        else None
    )
    return Rollout(
        row.id,
        Playbook.model_validate(row.content),
        row.workload,
        row.consumer,
        RolloutState(row.state),
        row.step,
        row.step_started_at,
        row.routes_before,
        row.share_before,
        HoldReason(row.holds) if row.holds else None,
        row.asked,
        approval,
        row.started_by,
        row.why,
        row.started_at,
        row.ended_at,
        row.flow_run_id,
        row.entered,
        row.asked_at,
        row.inherited_before,
        row.approved_at,
    )
