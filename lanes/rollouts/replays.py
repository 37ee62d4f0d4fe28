"""A replay: a numbered re-reading of the stream by one version, and what its answers would change."""

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
    """The part of a replay's range that it asks: the items that meet every condition given here, on one lane."""

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
    """Only items of which this was true as they arrived, over what rules read. Example: payload.n > 2. Empty: any."""
    only: Only | None = Field(default=None, title="Only")
    """Only labeled items, those with differing answers, or those that failed; empty: all of them."""
    answered_by: int | None = Field(default=None, ge=1, le=LARGEST, title="Answered by version")
    """Only items whose current answer is of the version with this number; empty: of any."""
    force: bool = Field(default=False, title="Ask unchanged items too")
    """Yes asks items again that would be asked exactly as they were; no keeps their answers."""
    lane: Literal["realtime", "batch"] = Field(default="batch", title="Lane")
    """The lane that asks: batch, or realtime, where it takes only what live work leaves."""
    shadow: float = Field(default=0.0, ge=0, le=1, title="Shadow")
    """The share, 0 to 1, of the items after its range that it answers too, to be compared, until it is promoted."""

    @property
    def conditions(self) -> str:
        """Return the conditions that were given, empty without one."""
        given = self.model_dump(
            mode="json", exclude_defaults=True, exclude={"force", "lane", "shadow"}
        )
        return ", ".join(f"{name} {value}" for name, value in given.items())

    def rule(self) -> Rule | None:
        """Return the compiled condition over an item, None without one.

        Raises:
            ActionRefused: it is no rule, or too dear for one; the sentence says where it is at fault.
        """
        if not self.where:
            return None
        try:
            rule = Rule(self.where)
            rule.check_price()
        except RuleSyntaxError as error:
            raise ActionRefused(error.of_field("where")) from None
        except ValueError as error:
            raise ActionRefused(f"where: {error}") from None
        return rule

    def check(self) -> None:
        """Check that the conditions can be met.

        Raises:
            ActionRefused: `where` is no rule, or `until` is not after `since`.
        """
        self.rule()
        if self.since and self.until and self.since >= self.until:
            raise ActionRefused(
                f"since {self.since:%Y-%m-%d %H:%M} is not before until {self.until:%Y-%m-%d %H:%M}: nothing to replay; "
                "name the earlier moment first"
            )

    @classmethod
    def from_form(cls, form: "Selection") -> "Selection":
        """Return the conditions of a form that asks for more than these."""
        return cls(**{name: getattr(form, name) for name in cls.model_fields})


EVERYTHING = Selection()


def build_call_parts(version: Version, lane: Lane) -> tuple[Any, ...]:
    """Return all that a call of the version sends besides its one item, as `lanes.provider.requests` writes it."""
    spec = version.spec
    schema, most = spec.output_schema, most_answer_tokens(spec, 1)
    return spec.model_of(lane), most, spec.instructions, schema


@dataclass(frozen=True)
class Generation:
    """One replay as it stands. Positions are inclusive; `version` is the number an operator knows.

    `items` have work, `skipped` would be asked as they were, `erased` have no payload any more.
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
        """Its name in sentences."""
        return f'generation {self.number} of "{self.workload}"'

    @property
    def lane(self) -> Lane:
        """The lane that asks its items."""
        return Lane(self.selection.lane)

    @property
    def read_whole(self) -> bool:
        """Whether everything in its range has its work."""
        return self.cursor_position >= self.to_position


@dataclass
class Preview:
    """A replay before it runs: the items it would ask and leave out, and its estimated cost in US dollars.

    `items` would be asked: `examples` are the first keys. `skipped` would be asked as they were, `erased` have no payload any
    more, and `unmet` could not be tried by the condition over an item: `unmet_because` is the first reason. It `ends` by then
    with the `probability`, 0 to 1: batches that leave by schedule, or real time beside the live work of the busier hours of
    a week; a lane that such hours fill has no end.
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
    """The labels of one field or class, counted: right on each side, and right on one side only."""

    labels: int = 0
    current_right: int = 0
    replayed_right: int = 0
    only_current: int = 0
    only_replayed: int = 0

    def add(self, current: bool, replayed: bool) -> None:
        """Count a label, by whether each side agrees with it."""
        self.labels += 1
        self.current_right += current
        self.replayed_right += replayed
        self.only_current += current and not replayed
        self.only_replayed += replayed and not current

    @property
    def gain(self) -> tuple[float, float]:
        """Return the bounds of the accuracy of the replay minus that of what is shown, -1 to 1, at 95 %."""
        alike = self.labels - self.only_current - self.only_replayed
        return PairedShares(self.only_replayed, self.only_current, alike).bounds(alpha=ALPHA)


@dataclass
class ClassChange:
    """The items that are shown in one class: how many would change it, and the agreement with their labels."""

    items: int = 0
    changed: int = 0
    agreement: Agreement = field(default_factory=Agreement)


@dataclass
class ChangeKind:
    """A kind of change: a compared field that goes from one of its closed values to another, or differs in any other way."""

    field_name: str
    change: str
    items: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass
class Diff:
    """The changes that a replay would make. `differing` counts items over the compared fields, `fields` over every field.

    `classes` are the values of `class_field`, the first field with a closed set of them: empty without one. `kinds` are of the
    compared fields, the most frequent first.
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
        """The share of items whose answer would change, 0 to 1; None without an item to compare."""
        return self.differing / self.items if self.items else None


def change_bounds(changed: int, items: int) -> tuple[float, float]:
    """Return the bounds of the share that would change, 0 to 1, at 95 %."""
    return bounds(SampleShare(changed, items), alpha=ALPHA)


def diff(
    answers: Iterable[Answers], compare_fields: Sequence[str] = (), schema: Mapping[str, Any] = {}
) -> Diff:
    """Return what the replayed answers would change, by `compare_fields` (empty: all fields).

    `schema` is that of the version in force: its closed fields tell classes and kinds of change apart.
    """
    closed = list_closed_fields(schema) if schema else {}
    found, kinds = Diff(class_field=next(iter(closed), "")), dict[tuple[str, str], ChangeKind]()
    for each in answers:
        found.items += 1
        current, replayed = dict(each.current), dict(each.replayed)
        everywhere = compare(current, replayed, ())
        for name in everywhere.changed_fields if everywhere else ():
            found.fields[name] = found.fields.get(name, 0) + 1
        counted = everywhere and compare(current, replayed, tuple(compare_fields))
        if counted is not None:
            found.differing += 1
            example = Example(each.key, counted.changed_fields, current, replayed)
            for name in counted.changed_fields:
                said = _change(current.get(name), replayed.get(name), closed.get(name))
                kind = kinds.setdefault((name, said), ChangeKind(name, said))
                kind.items += 1
                if len(kind.examples) < EXAMPLES_OF_A_KIND:
                    kind.examples.append(example)
        _count_class(found, each, closed)
        for name, right in (each.expected or {}).items():
            tally = found.agreement.setdefault(name, Agreement())
            tally.add(*(name in of and _agree(right, of[name]) for of in (current, replayed)))
    found.kinds = sorted(
        kinds.values(), key=lambda kind: (-kind.items, kind.field_name, kind.change)
    )
    return found


def _count_class(found: Diff, of: Answers, closed: Mapping[str, Sequence[Any]]) -> None:
    """Count the item in the class that is shown, and its label in the class that is right."""
    name, missing = found.class_field, object()
    if not name:
        return
    shown, then = of.current.get(name, missing), of.replayed.get(name, missing)
    if shown in closed[name]:
        its = found.classes.setdefault(_value(shown), ClassChange())
        its.items += 1
        its.changed += not _agree(shown, then)
    right = (of.expected or {}).get(name, missing)
    if right in closed[name]:
        its = found.classes.setdefault(_value(right), ClassChange())
        its.agreement.add(_agree(right, shown), _agree(right, then))


def _change(now: Any, then: Any, closed: Sequence[Any] | None) -> str:
    """Say a change of a closed field by its values; empty where the field may say anything."""
    return f"{_value(now)} → {_value(then)}" if closed and now in closed and then in closed else ""


def _value(of: Any) -> str:
    return of if isinstance(of, str) else dumps(of)


def _agree(one: Any, other: Any) -> bool:
    return compare({"value": one}, {"value": other}, ()) is None


def resumes(of: Generation) -> str:
    """Return how the paused replay goes on."""
    return f"`lanes resume {of.workload} --replay` lets it go on"


def check_promotable(of: Generation, open_work: int) -> None:
    """Check that the replay may be promoted.

    Raises:
        ActionRefused: it is not complete; the sentence says what to do.
    """
    if of.state in (ReplayState.PROMOTED, ReplayState.DROPPED):
        raise ActionRefused(f"{of.name} is {of.state}; only a complete replay can be promoted")
    if of.paused_at is not None:
        raise ActionRefused(f"{of.name} is paused: {resumes(of)}")
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
