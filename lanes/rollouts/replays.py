"""Replays: numbered reprocessings of the stream by one version, and the changes that their answers would make."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from lanes.errors import ActionRefused
from lanes.ids import GenerationId, VersionId
from lanes.json_data import dumps
from lanes.money.cost import most_answer_tokens
from lanes.settling.settle import compare
from lanes.statistics.differences import PairedShares
from lanes.statistics.shares import SampleShare, bounds
from lanes.words import Lane, ReplayState
from lanes.workload.form import LARGEST, Form, SignedLine
from lanes.workload.rules import MOST_CHARACTERS, Rule, RuleSyntaxError
from lanes.workload.schemas import list_closed_fields
from lanes.workload.version import Version

EXAMPLES_OF_A_KIND = 3
ALPHA = 0.05  # of the bounds that a diff shows
MOST_KEYS = 1_000


Only = Literal["labeled", "differing", "failed"]
Moment = Annotated[datetime, AfterValidator(lambda at: at if at.tzinfo else at.replace(tzinfo=UTC))]


class Selection(Form):
    """The part of a replay's range to process: the items that meet all conditions given here, on one lane."""

    model_config = ConfigDict(frozen=True)

    since: Moment | None = Field(default=None, title="Received since")
    """Only items received from this moment on; empty: from the first."""
    until: Moment | None = Field(default=None, title="Received until")
    """Only items received before this moment; empty: to the newest."""
    key: tuple[SignedLine, ...] = Field(default=(), max_length=MOST_KEYS, title="Keys")
    """Only items with these keys, at most 1,000; empty: any key."""
    where: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        default="", max_length=MOST_CHARACTERS, title="Where (CEL)"
    )
    """Only items for which this was true at arrival, over the values that rules read. Example: payload.n > 2. Empty: any."""
    only: Only | None = Field(default=None, title="Only")
    """Only labeled items, items with differing answers, or failed items; empty: all items."""
    answered_by: int | None = Field(default=None, ge=1, le=LARGEST, title="Answered by version")
    """Only items whose current answer is from the version with this number; empty: from any version."""
    force: bool = Field(default=False, title="Ask unchanged items too")
    """Yes also processes items whose call would be exactly the same as before; no keeps their answers."""
    lane: Literal["realtime", "batch"] = Field(default="batch", title="Lane")
    """The lane that processes the items: batch, or realtime, where the replay uses only capacity that live work leaves."""
    shadow: float = Field(default=0.0, ge=0, le=1, title="Shadow")
    """The share, 0 to 1, of the items after the range that the replay also answers, for comparison, until it is promoted."""

    @property
    def conditions(self) -> str:
        """The given conditions as text, empty without any."""
        given = self.model_dump(
            mode="json", exclude_defaults=True, exclude={"force", "lane", "shadow"}
        )
        return ", ".join(f"{name} {value}" for name, value in given.items())

    def rule(self) -> Rule | None:
        """Return the compiled `where` condition, None without one.

        Raises:
            ActionRefused: it is not a valid rule or is too expensive; the message names the faulty place.
        """
        if not self.where:
            return None
        try:
            rule = Rule(self.where)
            rule.check_price()
        except RuleSyntaxError as error:
            raise ActionRefused(error.name_field("where")) from None
        except ValueError as error:
            raise ActionRefused(f"where: {error}") from None
        return rule

    def check(self) -> None:
        """Check that the conditions are valid.

        Raises:
            ActionRefused: `where` is not a valid rule, or `until` is not after `since`.
        """
        self.rule()
        if self.since and self.until and self.since >= self.until:
            raise ActionRefused(
                f"since {self.since:%Y-%m-%d %H:%M} is not before until {self.until:%Y-%m-%d %H:%M}: nothing to replay; "
                "name the earlier moment first"
            )

    @classmethod
    def from_form(cls, form: "Selection") -> "Selection":
        """Return the conditions in a form that has more fields than these."""
        return cls(**{name: getattr(form, name) for name in cls.model_fields})


EVERYTHING = Selection()


def build_call_parts(version: Version, lane: Lane) -> tuple[Any, ...]:
    """Return everything that a call of the version sends besides its one item, in line with `lanes.provider.requests`."""
    spec = version.spec
    schema, most = spec.output_schema, most_answer_tokens(spec, 1)
    return spec.model_of(lane), most, spec.instructions, schema


@dataclass(frozen=True)
class Generation:
    """The current state of one replay. Positions are inclusive; `version` is the version's number as operators see it.

    `items` counts the items with work, `skipped` the items whose call would be the same as before, and `erased` the items
    without a payload.
    """

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
    skipped: int = 0
    erased: int = 0
    selection: Selection = EVERYTHING
    paused_at: datetime | None = None

    @property
    def name(self) -> str:
        """The name of the replay in sentences."""
        return f'generation {self.number} of "{self.workload}"'

    @property
    def lane(self) -> Lane:
        """The lane that processes its items."""
        return Lane(self.selection.lane)

    @property
    def read_whole(self) -> bool:
        """Whether the replay has read its whole range, so that all its work exists."""
        return self.cursor_position >= self.to_position


@dataclass
class Preview:
    """A replay before it runs: the items that it would process and leave out, and its estimated cost in US dollars.

    `items` counts the items to process, and `examples` are their first keys. `skipped` counts the items whose call would be the
    same as before, and `erased` the items without a payload. `unmet` counts the items on which the condition could not be
    evaluated, and `unmet_because` is the first reason. `ends` is the time by lane by which the replay ends with the
    `probability`, 0 to 1. It assumes scheduled batches, or real-time capacity left by live work in the busier hours of a week;
    a lane without capacity in such hours has no entry.
    """

    workload: str
    version: int
    from_position: int
    to_position: int
    items: int = 0
    skipped: int = 0
    erased: int = 0
    unmet: int = 0
    unmet_because: str = ""
    realtime_usd: Decimal = Decimal(0)
    batch_usd: Decimal = Decimal(0)
    examples: list[str] = field(default_factory=list[str])
    probability: float = 0.0
    ends: dict[Lane, datetime] = field(default_factory=dict[Lane, datetime])


@dataclass(frozen=True)
class Answers:
    """The current answer and the replay's answer for one item, with the label (`expected`) if known."""

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
    """Counts of the labels of one field or class: the number that each side gets right, and that only one side gets right."""

    labels: int = 0
    current_right: int = 0
    replayed_right: int = 0
    only_current: int = 0
    only_replayed: int = 0

    def add(self, current: bool, replayed: bool) -> None:
        """Count a label; `current` and `replayed` tell whether that side's answer agrees with it."""
        self.labels += 1
        self.current_right += current
        self.replayed_right += replayed
        self.only_current += current and not replayed
        self.only_replayed += replayed and not current

    @property
    def gain(self) -> tuple[float, float]:
        """The 95 % bounds of the replay's accuracy minus the accuracy of the current answers, -1 to 1."""
        alike = self.labels - self.only_current - self.only_replayed
        return PairedShares(self.only_replayed, self.only_current, alike).bounds(alpha=ALPHA)


@dataclass
class ClassChange:
    """The items whose current answer is one class: their number, the number that would change it, and their agreement."""

    items: int = 0
    changed: int = 0
    agreement: Agreement = field(default_factory=Agreement)


@dataclass
class ChangeKind:
    """A kind of change of a compared field: from one of its closed values to another, or any other difference."""

    field_name: str
    change: str
    items: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass
class Diff:
    """The changes that a replay would make.

    `differing` counts the items that differ in a compared field; `fields` counts the differing items for every field. `classes`
    are the values of `class_field`, the first field with a closed set of values; empty without one. `kinds` are the changes of
    the compared fields, the most frequent first.
    """

    items: int = 0
    differing: int = 0
    fields: dict[str, int] = field(default_factory=dict)
    agreement: dict[str, Agreement] = field(default_factory=dict)
    class_field: str = ""
    classes: dict[str, ClassChange] = field(default_factory=dict)
    kinds: list[ChangeKind] = field(default_factory=list)

    @property
    def share(self) -> float | None:
        """The share of compared items whose answer would change, 0 to 1; None without items."""
        return self.differing / self.items if self.items else None


def change_bounds(changed: int, items: int) -> tuple[float, float]:
    """Return the 95 % bounds of the share of items that would change, 0 to 1."""
    return bounds(SampleShare(changed, items), alpha=ALPHA)


def diff(
    answers: Iterable[Answers], compare_fields: Sequence[str] = (), schema: Mapping[str, Any] = {}
) -> Diff:
    """Return the changes that the replayed answers would make in `compare_fields` (empty: all fields).

    `schema` is the schema of the version in force; its closed fields define the classes and the kinds of change.
    """
    closed = list_closed_fields(schema) if schema else {}
    result, kinds = Diff(class_field=next(iter(closed), "")), dict[tuple[str, str], ChangeKind]()
    for item in answers:
        result.items += 1
        current, replayed = dict(item.current), dict(item.replayed)
        everywhere = compare(current, replayed, ())
        for name in everywhere.changed_fields if everywhere else ():
            result.fields[name] = result.fields.get(name, 0) + 1
        comparison = everywhere and compare(current, replayed, tuple(compare_fields))
        if comparison is not None:
            result.differing += 1
            example = Example(item.key, comparison.changed_fields, current, replayed)
            for name in comparison.changed_fields:
                change = _change(current.get(name), replayed.get(name), closed.get(name))
                kind = kinds.setdefault((name, change), ChangeKind(name, change))
                kind.items += 1
                if len(kind.examples) < EXAMPLES_OF_A_KIND:
                    kind.examples.append(example)
        _count_class(result, item, closed)
        for name, label in (item.expected or {}).items():
            tally = result.agreement.setdefault(name, Agreement())
            tally.add(*(name in of and _agree(label, of[name]) for of in (current, replayed)))
    result.kinds = sorted(
        kinds.values(), key=lambda kind: (-kind.items, kind.field_name, kind.change)
    )
    return result


def _count_class(result: Diff, item: Answers, closed: Mapping[str, Sequence[Any]]) -> None:
    """Count the item in the class of its current answer, and its label in the class of the label."""
    name, missing = result.class_field, object()
    if not name:
        return
    current_value, replayed_value = (
        item.current.get(name, missing),
        item.replayed.get(name, missing),
    )
    if current_value in closed[name]:
        class_change = result.classes.setdefault(_value(current_value), ClassChange())
        class_change.items += 1
        class_change.changed += not _agree(current_value, replayed_value)
    label = (item.expected or {}).get(name, missing)
    if label in closed[name]:
        class_change = result.classes.setdefault(_value(label), ClassChange())
        class_change.agreement.add(_agree(label, current_value), _agree(label, replayed_value))


def _change(current: Any, replayed: Any, closed: Sequence[Any] | None) -> str:
    """Return the change of a closed field as text, empty if a value is not one of the closed values."""
    return (
        f"{_value(current)} → {_value(replayed)}"
        if closed and current in closed and replayed in closed
        else ""
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)


def _agree(one: Any, other: Any) -> bool:
    return compare({"value": one}, {"value": other}, ()) is None


def resumes(generation: Generation) -> str:
    """Return a sentence about the command that resumes the paused replay."""
    return f"`lanes resume {generation.workload} --replay` lets it go on"


def check_promotable(generation: Generation, open_work: int) -> None:
    """Check that the replay may be promoted.

    Raises:
        ActionRefused: it is not complete; the message gives the next step.
    """
    if generation.state in (ReplayState.PROMOTED, ReplayState.DROPPED):
        raise ActionRefused(
            f"{generation.name} is {generation.state}; only a complete replay can be promoted"
        )
    if generation.paused_at is not None:
        raise ActionRefused(f"{generation.name} is paused: {resumes(generation)}")
    if not generation.read_whole:
        raise ActionRefused(
            f"{generation.name} has not read its whole range: ask for the same replay again, it goes on there"
        )
    if open_work:
        raise ActionRefused(
            f"{generation.name} has open work ({open_work:,} items): let the deployment `depart` send what waits and its "
            "batches come back, then promote it"
        )


def check_demotable(generation: Generation, promoted_later: int | None) -> None:
    """Check that the replay may be demoted; `promoted_later` is the number of a generation that was promoted later.

    Raises:
        ActionRefused: it is not promoted, or a later promotion is in force.
    """
    if generation.state is not ReplayState.PROMOTED:
        raise ActionRefused(
            f"{generation.name} is {generation.state}; only a promoted replay can be demoted"
        )
    if promoted_later is not None:
        raise ActionRefused(
            f"generation {promoted_later} was promoted after {generation.name}; demote that one first"
        )


def check_droppable(generation: Generation) -> None:
    """Check that the replay may be dropped.

    Raises:
        ActionRefused: it is promoted, or it was dropped before.
    """
    if generation.state is ReplayState.PROMOTED:
        raise ActionRefused(f"{generation.name} is promoted; demote it before you drop it")
    if generation.state is ReplayState.DROPPED:
        raise ActionRefused(f"{generation.name} was dropped before")
