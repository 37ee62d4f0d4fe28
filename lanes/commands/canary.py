"""The canary of `lanes publish`: whether it can begin, and the run that leads it."""

import getpass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from lanes.commands.plan import read_playbook
from lanes.errors import ActionRefused
from lanes.rollouts import refusals
from lanes.rollouts.playbook import Direction
from lanes.stand import reaching
from lanes.standing import runs
from lanes.store.database import clock
from lanes.store.rollouts import plans
from lanes.store.workload import candidates
from lanes.workload.definition import Comparison
from lanes.workload.definition_file import NamedSpec


def require_canary(pool: Engine, canary: str, wanted: NamedSpec, found: Comparison) -> None:
    """Check that a canary of the definition can begin by that playbook.

    Raises:
        PlaybookInvalid: the playbook cannot be read.
        ActionRefused: it moves no version, nothing is in force or differs, or the rollout would be refused.
    """
    playbook, name = read_playbook(canary), wanted.name
    if playbook.direction is not Direction.VERSION:
        raise ActionRefused(refusals.not_of_a_version(playbook))
    if found.in_force is None:
        raise ActionRefused(candidates.NOTHING_TO_COMPARE.format(name))
    if not found.changed:
        raise ActionRefused(candidates.SAME_AS_IN_FORCE.format(found.in_force.number, name))
    with pool.begin() as connection:
        now = clock(connection)
        of_new = {"consumer": None, "new": wanted.spec, "now": now}
        _, refusal = plans.of_playbook(connection, playbook, name=name, **of_new)
    if refusal is not None:
        raise ActionRefused(refusal)


def _named(playbook: str) -> tuple[str, str]:
    """Return the name of a playbook, and the path of one that is not among the shipped ones."""
    path = Path(playbook)
    is_path = path.suffix in {".yaml", ".yml"}
    return (path.stem, str(path.absolute())) if is_path else (playbook, "")


def begin_canary(pool: Engine, canary: str, name: str) -> dict[str, Any]:
    """Ask for the run that leads the canary of the workload's candidate."""
    with pool.begin() as connection:
        candidate = candidates.find(connection, name)
    if candidate is None:
        raise ActionRefused(f'the candidate of workload "{name}" was replaced meanwhile: try again')
    playbook, path = _named(canary)
    order = {"workload": name, "playbook": playbook, "file": path, "version": str(candidate.number)}
    why = f"canary of version {candidate.number}"
    run, page = reaching.ask_for(runs.migrate(**order, who=getpass.getuser(), why=why))
    said = f"{name}: version {candidate.number} is stored and not in force; asked for a rollout by {canary}"
    return {"said": said, "candidate": candidate.number, "run": run, "url": page}
