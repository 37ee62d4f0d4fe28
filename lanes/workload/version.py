"""A workload's definition, its immutable versions, and their share of the real-time lane."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import time, timedelta
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from lanes.ids import VersionId
from lanes.words import BLOCK, Announces, Lane, Mode, PackScope
from lanes.workload import prices, schemas
from lanes.workload.answer_check import AnswerCheck, check_affordable, check_size
from lanes.workload.context import STORED, Context
from lanes.workload.form import Form, Promises
from lanes.workload.rules import OF_ANSWERS, VARIABLES, Rule, RulePair
from lanes.workload.window import TIME_OF_DAY, Window, zone_of

# The minimum: budgets count a whole month, and the provider stores batch results for 29 days.
ARCHIVED_DAYS = 32
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


class SecondPass(Form):
    """The choice of early answers of a Lambda workload for an authoritative pass; without `risk` and a check, all get it.

    An answer that fails the check always gets the pass. Other answers get it until the answers of their class have surely been
    good enough for `risk`; with a check alone they do not get it. A uniform sample of the exempt answers still gets it.
    """

    risk: float = Field(default=0, ge=0, le=0.5, title="Stated risk")
    """Largest share of a class's early answers that may stay wrong without a check, 0 to 0.5. 0 = not stated."""
    sample: float = Field(default=0.1, ge=0.001, le=1, title="Uniform sample")
    """Share of the items, by a hash of their keys, whose answers are always checked, 0.001 to 1."""
    confidence_below: float = Field(default=0, ge=0, title="Check answers less confident than")
    """An answer whose stated confidence is below this fails the check. 0 = confidence is not checked."""
    confidence_field: str = Field(default="confidence", title="Field of the stated confidence")
    """Numeric output field that states the confidence."""
    when: str = Field(default="", title="Check answers when (CEL)")
    """An answer for which this is true fails the check. Over output. Example: output.category == "legal". Empty = never."""

    @field_validator("when")
    @classmethod
    def _compiles(cls, text: str, info: ValidationInfo) -> str:
        return _check_rule(text, OF_ANSWERS, info)

    @property
    def is_stated(self) -> bool:
        """Whether some answers may stay without their second pass."""
        return bool(self.risk or self.confidence_below or self.when)


def _check_rule(text: str, variables: Sequence[str], info: ValidationInfo) -> str:
    """Return a rule's text if it compiles and, unless it is stored, has a bounded cost.

    Raises:
        ValueError: the rule is invalid or too expensive.
    """
    if text:
        rule = Rule(text, variables)
        if info.context is not STORED:
            rule.check_price()
    return text


class ConsumerTerms(Form):
    """The terms on which a workload serves one consumer."""

    weight: int = Field(default=1, ge=1, le=100, title="Weight")
    """Share of the workload's real-time calls relative to other consumers while items of both wait, 1 to 100."""


# The doors accept the same lengths.
ConsumerName = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class Spec(BaseModel):
    """A definition as an operator edits it; the form shows only titles and descriptions."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    description: str = Field(default="", title="Description")
    """One sentence for people."""
    instructions: str = Field(min_length=1, title="Instructions")
    """The system prompt. All items share it, so put varying text into the payload."""
    output_schema: dict[str, Any] = Field(title="Output schema")
    """JSON Schema (draft 2020-12) of one answer; its root is an object."""
    input_schema: dict[str, Any] = Field(
        default_factory=dict,
        title="Input schema",
        description="JSON Schema of one payload, checked at every door: an input that breaks it is refused. It may use type, "
        "properties, required, additionalProperties, items, enum, const, and lengths and bounds. Empty = any JSON object.",
    )
    realtime_model: str = Field(default="claude-haiku-5-5", min_length=1, title="Real-time model")
    """Model of the real-time lane, for example claude-haiku-5-5."""
    batch_model: str = Field(default="claude-haiku-5-5", min_length=1, title="Batch model")
    """Model of the batch lane, for example claude-opus-5-5."""
    mode: Mode = Field(
        default=Mode.PLAIN,
        title="Mode (plain or lambda)",
        description="plain: the first valid answer counts. lambda: real-time answers provisionally, and an "
        "authoritative batch pass then confirms or corrects the answer.",
    )
    urgent_when: str = Field(
        default="",
        title="Urgent when (CEL)",
        description="True sends an item to real-time. Over payload, age_s, due_in_s (may be null), consumer. "
        'Example: payload.channel == "chat". Empty = never.',
    )
    batch_when: str = Field(default="", title="Batch when (CEL)")
    """True sends an item to batch unless it must be real-time. Example: age_s > 86400. Empty = never."""
    split_percent: float = Field(
        default=0,
        ge=0,
        le=100,
        title="First split (% to real-time)",
        description="Share of undecided items that go to real-time when the workload is first published, 0 to 100. "
        "Afterwards playbooks and `lanes split` move it.",
    )
    patience_s: int = Field(default=60, ge=0, le=86_400, title="Patience (seconds)")
    """Longest time that an item without a due time waits behind others, 0 to 86400; an urgent item goes first."""
    buffer_s: float = Field(
        default=0,
        ge=0,
        le=5,
        title="Buffer (seconds)",
        description="Longest time in which real-time items are gathered into one micro-batch, 0 to 5; items are held only "
        "while more are expected. 0 = answer at once.",
    )
    realtime_pack: int = Field(default=1, ge=1, le=50, title="Items per real-time call")
    """Largest number of items in one real-time call, 1 to 50."""
    batch_pack: int = Field(default=1, ge=1, le=50, title="Items per batch request")
    """Largest number of items in one request of a batch, 1 to 50."""
    pack_scope: PackScope = Field(
        default=PackScope.WORKLOAD,
        title="Items that may share a call (workload or consumer)",
        description="workload: any items of this workload. consumer: only items of the same consumer, so that no call holds "
        "items of two consumers, or history of another one; items without a consumer share calls with each other.",
    )
    pack_check_share: float = Field(
        default=0.005,
        ge=0,
        le=0.2,
        title="Share of packed items that are checked",
        description="Share of the items in shared calls that are also answered alone, 0 to 0.2. If packing makes answers "
        "worse, fewer items share a call. The cost is shown separately; a third of these items are asked twice. 0 = none.",
    )
    max_output_tokens: int = Field(default=300, ge=16, le=32_000, title="Longest answer (tokens)")
    """Upper bound of one answer, 16 to 32000. Keep it tight: rate limits charge it in advance."""
    expected_output_tokens: int = Field(default=80, ge=1, le=32_000, title="Usual answer (tokens)")
    """Tokens of a usual answer, to estimate the cost of an item on each lane."""
    max_failures: int = Field(default=5, ge=1, le=20, title="Retry budget")
    """Failed attempts after which an item's work is given up, 1 to 20."""
    give_up_after_h: int = Field(
        default=24,
        ge=1,
        le=720,
        title="Give up after (hours)",
        description="How long an item may come back unanswered, through no fault of its own, before it fails and an incident "
        "reports it, 1 to 720. The hours count from its first return, and three returns are needed; in an outage of its "
        "real-time model they count from the start of the outage. `lanes retry` tries it again.",
    )
    max_payload_kib: int = Field(default=256, ge=1, le=4096, title="Largest payload (KiB)")
    """A larger input is rejected at the door, 1 to 4096."""
    off_peak_start: str = Field(default="22:00", title="Off-peak from")
    """Local time HH:MM at which batches are submitted."""
    off_peak_end: str = Field(default="06:00", title="Off-peak until")
    """Local time HH:MM. Equal to the start = all day."""
    timezone: str = Field(default="UTC", title="Time zone")
    """IANA name, for example Europe/Berlin."""
    batch_expected_minutes: int = Field(
        default=60, ge=1, le=1440, title="Batch: usual turnaround (minutes)"
    )
    """Time within which half of the batches return, 1 to 1440: assumed until Lanes has seen enough batches."""
    confidence: float = Field(
        default=0.95,
        ge=0.5,
        le=0.999,
        title="Confidence in due times",
        description="An item with a due time goes to a batch only if the batch returns in time with at least this probability, "
        "0.5 to 0.999. Higher: more items go to real-time, and fewer are late.",
    )
    value_usd: float = Field(
        default=0,
        ge=0,
        le=1_000_000,
        title="Value of an answer (US dollars)",
        description="Value of an immediate answer, 0 to 1000000. The value that waiting loses is weighed against the saving of "
        "a batch, before the split decides. 0 = not stated: nothing is weighed.",
    )
    half_life_s: int = Field(
        default=3600,
        ge=1,
        le=31_536_000,
        title="Half-life of that value (seconds)",
        description="Time in which an answer loses half of its value, counted from when its item occurred, 1 to 31536000. "
        "It matters only if the value is stated.",
    )
    dedupe: str = Field(default="key", pattern="^(key|content)$", title="Items without a key")
    """key: their event or line identifies them. content: equal payloads are one item."""
    compare_fields: list[str] = Field(default_factory=list, title="Fields that make a correction")
    """Top-level output fields whose difference counts as a correction. Empty = all."""
    announces: Announces = Field(
        default=Announces.REALTIME,
        title="Answers that are announced",
        description="Which answers send the event lanes.item.answered. each: every one. realtime: those of the real-time lane. "
        "summary: none. Failures, corrections, rejections, counts of batches, and items sent with `ack` always send theirs.",
    )
    second_pass: SecondPass = Field(default_factory=SecondPass, title="Second pass (lambda)")
    """Choice of the early answers that get their authoritative pass; by default, all."""
    context: Context = Field(default_factory=Context, title="Context of batches")
    """Further data that a batch reads with each item."""
    weight: int = Field(default=1, ge=1, le=100, title="Weight")
    """Share of the real-time lane relative to other workloads when all of them wait, 1 to 100."""
    max_share_percent: int = Field(
        default=75, ge=1, le=100, title="Largest share of the real-time lane (%)"
    )
    """Largest share that one workload may use while others wait, 1 to 100."""
    provider: str = Field(default=BLOCK, pattern=f"^{NAME.pattern}$", title="Provider")
    """Name of the "Lanes provider" block whose account answers and is billed; `lanes up` writes block lanes."""
    consumers: dict[ConsumerName, ConsumerTerms] = Field(
        default_factory=dict,
        max_length=100,
        title="Consumers",
        description='How single consumers are served, up to 100. Example: {"shop": {"weight": 2}}. Those not named: weight 1.',
    )
    keep_payload_days: int = Field(
        default=0,
        ge=0,
        le=3650,
        title="Erase contents after (days)",
        description="Days after an item was received, amended or settled, whichever came last, until its input, answers, "
        "errors and explanations are erased; its key, its hash and its costs stay. 1 to 3650; 0 = never erased.",
    )
    archive_after_days: int = Field(
        default=0,
        ge=0,
        le=3650,
        title="Archive items (days)",
        description="Days after the last event of a finished item until its rows move to the archive, where `lanes archive "
        "query` reads them; the item can then no longer be amended, labeled or retried. 32 to 3650; 0 = never.",
    )
    review_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        title="Share of items to review",
        description="Share of the answered items, chosen by a hash of their keys, that is always in the review queue, 0 to 1. "
        "Their labels are a fair sample: accuracy is estimated from them. 0 = none.",
    )
    promises: Promises = Field(default_factory=Promises, title="Promises (limits)")
    """Limits whose breach opens an incident."""

    @model_validator(mode="before")
    @classmethod
    def _says_context(cls, data: Any) -> Any:
        """Convert `history_items`, which earlier releases wrote, to the equivalent context."""
        if not isinstance(data, dict) or "history_items" not in data:
            return data
        others = {name: value for name, value in data.items() if name != "history_items"}
        return {"context": {"entity": {"items": data["history_items"]}}} | others

    @model_validator(mode="after")
    def _check_archiving(self) -> Self:
        days, entity = self.archive_after_days, self.context.entity
        if not days:
            return self
        read = (entity.days or 3651) if entity.items else 0
        least = max(ARCHIVED_DAYS, read, self.context.horizon_days if self.corrects_late else 0)
        if days < least:
            raise ValueError(
                f"archive_after_days is {days}, and must be at least {ARCHIVED_DAYS}, context.entity.days and "
                "context.horizon_days, as far as these are used: a month's budget, late context and the history of entities "
                "read items that are over; raise it, or limit what is read"
            )
        return self

    @field_validator("output_schema")
    @classmethod
    def _is_an_object_schema(cls, schema: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if info.context is not STORED:
            check_size(schema)
        schemas.check_output_schema(schema)
        if info.context is not STORED:
            schemas.check_askable(schema)
            check_affordable(schema)
        return schema

    @field_validator("input_schema")
    @classmethod
    def _can_be_checked(cls, schema: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if schema and info.context is not STORED:
            check_size(schema)
        if schema:
            schemas.check_input_schema(schema)
        if schema and info.context is not STORED:
            schemas.check_input_price(schema)
        return schema

    @field_validator("urgent_when", "batch_when")
    @classmethod
    def _compiles(cls, text: str, info: ValidationInfo) -> str:
        return _check_rule(text, VARIABLES, info)

    @field_validator("off_peak_start", "off_peak_end")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        if not TIME_OF_DAY.fullmatch(text):
            raise ValueError(f'"{text}" is not a time of day; write HH:MM, for example 22:00')
        return text

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        zone_of(name)
        return name

    @field_validator("realtime_model", "batch_model")
    @classmethod
    def _has_a_price(cls, model: str, info: ValidationInfo) -> str:
        if info.context is not STORED:
            prices.require(model)
        return model

    @classmethod
    def load(cls, data: dict[str, Any]) -> "Spec":
        """Return the spec of a published version: its model may no longer have a price, and removed fields are ignored.

        Raises:
            ValidationError: the data is invalid.
        """
        return cls.model_validate(data, extra="ignore", context=STORED)

    def weight_of(self, consumer: str) -> int:
        """Return the weight of a consumer among the consumers of the workload."""
        terms = self.consumers.get(consumer)
        return 1 if terms is None else terms.weight

    def model_of(self, lane: Lane) -> str:
        """Return the model that answers on `lane`."""
        return self.realtime_model if lane is Lane.REALTIME else self.batch_model

    def pack_of(self, lane: Lane) -> int:
        """Return the largest number of items in one provider call on `lane`."""
        return self.realtime_pack if lane is Lane.REALTIME else self.batch_pack

    @property
    def window(self) -> Window:
        """The off-peak window."""
        start, end = map(time.fromisoformat, (self.off_peak_start, self.off_peak_end))
        return Window(start, end, zone_of(self.timezone))

    @property
    def corrects_late(self) -> bool:
        """Whether late context causes one more authoritative pass."""
        is_read = self.mode is Mode.LAMBDA and self.context.parts
        return bool(is_read and self.context.horizon_days)

    @property
    def usual_turnaround(self) -> timedelta:
        """The median time from submitting a batch to reading its answers."""
        return timedelta(minutes=self.batch_expected_minutes)


@dataclass(frozen=True)
class Version:
    """One immutable snapshot of a workload; all code except the editor reads versions."""

    id: VersionId
    workload: str
    number: int
    spec: Spec

    @cached_property
    def answer_check(self) -> AnswerCheck:
        """The check of answers against the output schema."""
        return AnswerCheck(self.spec.output_schema)

    @cached_property
    def urgent_when(self) -> Rule | None:
        """The compiled rule for urgent items, if the workload has one."""
        return Rule(self.spec.urgent_when) if self.spec.urgent_when else None

    @cached_property
    def batch_when(self) -> Rule | None:
        """The compiled rule for items that go to batch, if the workload has one."""
        return Rule(self.spec.batch_when) if self.spec.batch_when else None

    @cached_property
    def fails_when(self) -> Rule | None:
        """The compiled check of early answers, if the workload has one."""
        when = self.spec.second_pass.when
        return Rule(when, OF_ANSWERS) if when else None

    @cached_property
    def both_rules(self) -> RulePair | None:
        """Both rules as one pair, if the workload has both."""
        if self.urgent_when is None or self.batch_when is None:
            return None
        return RulePair(self.urgent_when, self.batch_when)

    @property
    def entitlement(self) -> "Entitlement":
        """The share of the real-time lane that the workload may use."""
        return Entitlement(self.spec.weight, self.spec.max_share_percent)


@dataclass(frozen=True)
class Entitlement:
    """The weight of a waiting workload, and its largest percentage of the places while others wait or are served."""

    weight: int
    max_share_percent: int


UNBOUNDED = Entitlement(1, 100)  # entitlement of an unknown workload


def fair_shares(waiting: Mapping[str, Entitlement]) -> dict[str, float]:
    """Return the fraction of the places that each workload gets while all of them wait.

    A fraction is above 0, proportional to the weight, and at most the workload's maximum share. The sum is 1, or less if the
    maximum shares leave places empty.
    """
    parts, remaining, candidates = dict[str, float](), 1.0, dict(waiting)
    while candidates:
        weights = sum(each.weight for each in candidates.values())
        bounded = {
            name: each.max_share_percent / 100
            for name, each in candidates.items()
            if remaining * each.weight / weights > each.max_share_percent / 100
        }
        if not bounded:
            return parts | {
                name: remaining * each.weight / weights for name, each in candidates.items()
            }
        parts |= bounded
        remaining -= sum(bounded.values())
        candidates = {name: each for name, each in candidates.items() if name not in bounded}
    return parts
