"""A definition beside what is in force and what its block says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lanes.workload.definition import examine
from lanes.workload.diff import Difference, differences
from lanes.workload.version import Spec, Version


class Block(StrEnum):
    """What the block of a workload says, beside a definition."""

    SAME = "same"
    MISSING = "missing"
    INVALID = "invalid"  # and so it is not in force
    BEHIND = "behind"  # as the version in force
    EDITED = "edited"  # neither as the definition nor as the version in force: nobody has published it yet


@dataclass(frozen=True)
class Comparison:
    """`changed` is what differs from the version in force, `overwritten` what differs from a block that was edited,
    `problems` what is wrong with an invalid one."""

    in_force: Version | None
    block: Block
    changed: Sequence[Difference] = ()
    overwritten: Sequence[Difference] = ()
    problems: Sequence[str] = ()

    @property
    def nothing_differs(self) -> bool:
        """Whether publishing it would change nothing at all."""
        return self.in_force is not None and not self.changed and self.block is Block.SAME


def compare(
    name: str, spec: Spec, in_force: Version | None, block: Mapping[str, Any] | None
) -> Comparison:
    """A definition beside the version in force and the block's data, either of which there may be none."""
    changed = differences(in_force.spec, spec) if in_force else []
    if block is None:
        return Comparison(in_force, Block.MISSING, changed)
    said, problems = examine(name, dict(block))
    if said is None or problems:
        return Comparison(in_force, Block.INVALID, changed, problems=list(map(str, problems)))
    overwritten = differences(said, spec)
    if not overwritten:
        return Comparison(in_force, Block.SAME, changed)
    if in_force and not differences(said, in_force.spec):
        return Comparison(in_force, Block.BEHIND, changed)
    return Comparison(in_force, Block.EDITED, changed, overwritten)
