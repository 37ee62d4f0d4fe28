"""A replay: a numbered re-reading of the stream by one version, and what its answers would change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from lanes.errors import ActionRefused
from lanes.ids import GenerationId, VersionId
from lanes.money.cost import most_answer_tokens
from lanes.settling.settle import compare
from lanes.words import Lane, ReplayState
from lanes.workload.form import LARGEST, Form, SignedLine
from lanes.workload.rules import MOST_CHARACTERS, Rule, RuleSyntaxError
from lanes.workload.version import Version

MOST_EXAMPLES = 10
MOST_KEYS = 1_000


Only = Literal["labeled", "differing", "failed"]
Moment = Annotated[datetime, AfterValidator(lambda at: at if at.tzinfo else at.replace(tzinfo=UTC))]


class Selection(Form):
    """Which items of its range a replay asks: those that meet every condition given here."""

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

    @property
    def said(self) -> str:
        """Return the conditions that were given, empty without one."""
        given = self.model_dump(mode="json", exclude_defaults=True, exclude={"force"})
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
    def within(cls, form: "Selection") -> "Selection":
        """Return the conditions of a form that asks for more than these."""
        return cls(**{name: getattr(form, name) for name in cls.model_fields})


EVERYTHING = Selection()


def sent(version: Version, lane: Lane) -> tuple[Any, ...]:
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

    @property
    def name(self) -> str:
        """What sentences call it."""
        return f'generation {self.number} of "{self.workload}"'

    @property
    def read_whole(self) -> bool:
        """Whether everything in its range has its work."""
        return self.cursor_position >= self.to_position


@dataclass
class Preview:
    """What a replay would ask, leave out and cost, estimated in US dollars.

    `items` would be asked: `examples` are the first keys. `skipped` would be asked as they were, `erased` have no payload any
    more, and `unmet` could not be tried by the condition over an item: `unmet_because` is the first reason.
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
