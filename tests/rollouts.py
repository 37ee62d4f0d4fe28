"""Playbooks and rollouts for tests: each call names only the values that matter to the test."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from lanes.ids import RolloutId
from lanes.rollouts.gates import Figures, Judgement
from lanes.rollouts.playbook import ALPHA, Playbook, parse
from lanes.rollouts.rollout import Rollout
from lanes.store.rollouts import rollout_moves
from lanes.words import RolloutState, Signature
from tests.conftest import NOON

NAME = "batch-to-realtime"
ERRORS: dict[str, Any] = {"measure": "error_rate", "max": 0.1, "at_least": 5}


def step(
    percent: float, *gates: dict[str, Any], items: int = 5, approval: bool = False, **hold: Any
) -> dict[str, Any]:
    """Return a step, by default with one gate on errors."""
    held = {"items": items, **hold}
    return {
        "percent": percent,
        "hold": held,
        "approval": approval,
        "gates": list(gates) or [ERRORS],
    }


def text(
    *steps: dict[str, Any],
    direction: str = "batch_to_realtime",
    alpha: float = ALPHA,
    **others: Any,
) -> str:
    """Return the text of a playbook's file, as JSON, which is valid YAML."""
    fields = {"name": NAME, "description": "A trial.", "direction": direction, "alpha": alpha}
    fields |= others
    return json.dumps({**fields, "steps": list(steps), "on_failure": "share_before"}, indent=1)


def playbook(
    *steps: dict[str, Any], direction: str = "batch_to_realtime", **others: Any
) -> Playbook:
    """Return a playbook, by default with steps of 10 and 50 %."""
    return parse(NAME, text(*(steps or (step(10), step(50))), direction=direction, **others))


def write(
    folder: Path, *steps: dict[str, Any], direction: str = "batch_to_realtime", alpha: float = ALPHA
) -> str:
    """Write a playbook's file and return its path."""
    file = folder / f"{NAME}.yaml"
    file.write_text(text(*steps, direction=direction, alpha=alpha))
    return str(file)


def rollout_of(book: Playbook | None = None, **fields: Any) -> Rollout:
    """Return a rollout of workload `letters` at its first step."""
    made = Rollout(
        RolloutId(7),
        book or playbook(),
        "letters",
        None,
        RolloutState.RUNNING,
        0,
        NOON,
        0,
        0,
        None,
        0,
        None,
        "ada",
        "trial",
        NOON,
        None,
        None,
    )
    return replace(made, **fields)


def begin(
    connection: Connection,
    book: Playbook | None = None,
    *,
    consumer: str | None = None,
    version: int | None = None,
    now: datetime = NOON,
) -> Rollout:
    """Begin a rollout of workload `letters`, or of a candidate version of it."""
    return rollout_moves.start(
        connection,
        book or playbook(),
        name="letters",
        consumer=consumer,
        version=version,
        by=Signature("ada", "trial", now),
        run_id=None,
    )


def judged(of: Rollout, figures: Figures) -> list[Judgement]:
    """Return the judgements of the current step's gates on these figures, as the run of the rollout evaluates them."""
    return of.judge_figures(figures)
