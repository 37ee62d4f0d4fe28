"""A replay: a numbered re-reading of the stream by one version, and what its answers would change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from lanes.errors import ActionRefused
from lanes.ids import GenerationId, VersionId
from lanes.settling.settle import compare
from lanes.words import ReplayState

MOST_EXAMPLES = 10


@dataclass(frozen=True)
class Generation:
    """One replay as it stands. Positions are inclusive; `version` is the number an operator knows."""

    id: GenerationId
    workload: str
    number: int
    version_id: VersionId
    version: int
    state: ReplayState
    from_position: int
    to_position: int
    cursor_position: int
    items: int
    who: str
    why: str
    created_at: datetime

    @property
    def name(self) -> str:
        """What sentences call it."""
        return f'generation {self.number} of "{self.workload}"'

    @property
    def read_whole(self) -> bool:
        """Whether everything in its range has its work."""
        return self.cursor_position >= self.to_position


@dataclass(frozen=True)
class Preview:
    """What a replay would read and cost, estimated in US dollars."""

    workload: str
    version: int
    from_position: int
    to_position: int
    items: int
    batch_usd: Decimal


@dataclass(frozen=True)
class Answers:
    """One item answered by both: what is shown, and what the replay says; with what is right, where it is known."""

    key: str
    current: Mapping[str, Any]
    replayed: Mapping[str, Any]
    expected: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Example:
    """An item whose answer would change."""

    key: str
    changed_fields: list[str]
    current: dict[str, Any]
    replayed: dict[str, Any]


@dataclass
class Agreement:
    """Of the labels of one field: how many each side got right."""

    labels: int = 0
    current_right: int = 0
    replayed_right: int = 0


@dataclass
class Diff:
    """What a replay would change. `differing` counts items over the compared fields, `fields` over every field."""

    items: int = 0
    differing: int = 0
    fields: dict[str, int] = field(default_factory=dict)
    agreement: dict[str, Agreement] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)

    @property
    def share(self) -> float | None:
        """The share of items whose answer would change, 0 to 1; None without an item to compare."""
        return self.differing / self.items if self.items else None


def diff(answers: Iterable[Answers], compare_fields: Sequence[str] = ()) -> Diff:
    """Return what the replayed answers would change, by `compare_fields` (empty: all fields)."""
    found = Diff()
    for each in answers:
        found.items += 1
        everywhere = compare(dict(each.current), dict(each.replayed), ())
        for name in everywhere.changed_fields if everywhere else ():
            found.fields[name] = found.fields.get(name, 0) + 1
        counted = compare(dict(each.current), dict(each.replayed), tuple(compare_fields))
        if counted is not None:
            found.differing += 1
            if len(found.examples) < MOST_EXAMPLES:
                found.examples.append(
                    Example(
                        each.key, counted.changed_fields, dict(each.current), dict(each.replayed)
                    )
                )
        for name, right in (each.expected or {}).items():
            tally = found.agreement.setdefault(name, Agreement())
            tally.labels += 1
            tally.current_right += name in each.current and _agree(right, each.current[name])
            tally.replayed_right += name in each.replayed and _agree(right, each.replayed[name])
    return found


def _agree(one: Any, other: Any) -> bool:
    return compare({"value": one}, {"value": other}, ()) is None


def check_promotable(of: Generation, open_work: int) -> None:
    """Check that the replay may be promoted.

    Raises:
        ActionRefused: it is not complete; the sentence says what to do.
    """
    if of.state in (ReplayState.PROMOTED, ReplayState.DROPPED):
        raise ActionRefused(f"{of.name} is {of.state}; only a complete replay can be promoted")
    if not of.read_whole:
        raise ActionRefused(
            f"{of.name} has not read its whole range: ask for the same replay again, it goes on there"
        )
    if open_work:
        raise ActionRefused(
            f"{of.name} has open work ({open_work:,} items): let the deployment `depart` send what waits and its "
            "batches come back, then promote it"
        )


def check_demotable(of: Generation, promoted_later: int | None) -> None:
    """Check that the replay may be demoted; `promoted_later` names a later promotion.

    Raises:
        ActionRefused: it is not promoted, or another lies over it.
    """
    if of.state is not ReplayState.PROMOTED:
        raise ActionRefused(f"{of.name} is {of.state}; only a promoted replay can be demoted")
    if promoted_later is not None:
        raise ActionRefused(
            f"generation {promoted_later} was promoted after {of.name}; demote that one first"
        )


def check_droppable(of: Generation) -> None:
    """Check that the replay may be dropped.

    Raises:
        ActionRefused: its results are current, or it was dropped before.
    """
    if of.state is ReplayState.PROMOTED:
        raise ActionRefused(f"{of.name} is promoted; demote it before you drop it")
    if of.state is ReplayState.DROPPED:
        raise ActionRefused(f"{of.name} was dropped before")
