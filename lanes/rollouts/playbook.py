"""Playbooks: traffic migrations as files. The reader reports the line and the field of every problem."""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lanes import FILES
from lanes.errors import PlaybookInvalid
from lanes.rollouts.gates import BEFORE, CONFIRMING, PAIRED, UPPER, Count, Gate, Measure
from lanes.words import Lane
from lanes.workload import yaml_places
from lanes.workload.yaml_places import NotYaml

FOLDER = FILES / "migrations" / "playbooks"
MOST_BYTES = 256 * 1024
NAME = "^[a-z][a-z0-9-]*$"
BLOCK_TYPE = "lanes-playbook"
IN_BLOCK = "block:"  # prefix of a block's name, in fields that also accept a file name
LONGEST_MINUTES = 60 * 24 * 30
APPROVAL_HOURS = 72
MOST_PASSES = 1_000
MOST_DAYS, MOST_BATCHES = 90, 100  # upper bounds of a precondition's period
ALPHA = 0.05
WORDING = {"extra_forbidden": "no field has that name", "missing": "the field is missing"}


class Direction(StrEnum):
    """The side that receives the traffic: a lane, or a new version (on both lanes)."""

    BATCH_TO_REALTIME = "batch_to_realtime"
    REALTIME_TO_BATCH = "realtime_to_batch"
    VERSION = "version"

    @property
    def receiving(self) -> Lane | None:
        """The lane whose share grows; None if the share of a version grows."""
        return {
            Direction.BATCH_TO_REALTIME: Lane.REALTIME,
            Direction.REALTIME_TO_BATCH: Lane.BATCH,
        }.get(self)

    @property
    def giving(self) -> str:
        """The name of the side that gives traffic away, for sentences."""
        return "the old version" if self is Direction.VERSION else "the other lane"

    @property
    def all_moved(self) -> float:
        """The share, in percent, at which the giving side gets no items."""
        return 0 if self is Direction.REALTIME_TO_BATCH else 100

    def compute_moved_percent(self, percent: float) -> float:
        """Return the receiving side's share, in percent, at a step of `percent`."""
        return 100 - percent if self is Direction.REALTIME_TO_BATCH else percent

    @property
    def none_moved(self) -> float:
        """The share, in percent, at which the receiving side gets no items from the split."""
        return 100 - self.all_moved

    def goes_on(self, before: float, after: float) -> bool:
        """Return whether a share of `after` moves traffic further in this direction than `before`."""
        return after < before if self is Direction.REALTIME_TO_BATCH else after > before


class PlaybookPart(BaseModel):
    """A part of a playbook; it is immutable and rejects unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Length(PlaybookPart):
    """The length of a step: it lasts until the receiving lane, or version, has answered `items` split items of the step.

    A step without enough evidence after `at_most_minutes` is rolled back; an approval restarts this time. Without a limit, the
    step lasts as long as it takes. Time alone never passes a step.
    """

    items: Count
    at_most_minutes: Annotated[int, Field(strict=True, ge=1, le=LONGEST_MINUTES)] | None = None


class Shadows(PlaybookPart):
    """The `share` of the items, above 0 to 1, that take the other lane too, so that both lanes answer the same items.

    The answers of the shadows are compared and never shown. `budget_usd` is a rollout's budget for them in US dollars.
    """

    share: Annotated[float, Field(strict=True, gt=0, le=1)]
    budget_usd: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class Precondition(PlaybookPart):
    """The evidence about the batch lane, over the last `days`, that a rollout needs before it begins.

    The newest `batches` batches must all have returned in time, with a result for every item. The gates evaluate all items that
    took the lane, for any reason.
    """

    days: Annotated[int, Field(strict=True, ge=1, le=MOST_DAYS)] = 7
    batches: Annotated[int, Field(strict=True, ge=1, le=MOST_BATCHES)] | None = None
    gates: tuple[Gate, ...] = ()

    @property
    def deciding(self) -> list[Gate]:
        """The gates that decide: all but dry runs."""
        return [gate for gate in self.gates if not gate.dry_run]

    @field_validator("gates")
    @classmethod
    def _require_one_lane(cls, gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
        _require_one_of_each(gates)
        for gate in gates:
            if gate.measure not in BEFORE or gate.compares:
                what = gate.measure if gate.measure not in BEFORE else "`worse_by`"
                raise ValueError(
                    f"{what} cannot be judged before the rollout: it needs both lanes, or a step that moves items"
                )
        return gates

    @model_validator(mode="after")
    def _require_condition(self) -> Self:
        if self.batches is None and not self.deciding:
            raise ValueError("say what must be true before: `batches`, or a gate that decides")
        return self


class PlaybookStep(PlaybookPart):
    """One stage: a share in percent, and the conditions for the next stage.

    `percent` is the share of undecided items that go to real-time, or of all newly routed items that go to a new version. All
    gates must pass at `consecutive_passes` looks in a row.
    """

    percent: Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)]
    hold: Length
    approval: Annotated[bool, Field(strict=True)] = False
    consecutive_passes: Annotated[int, Field(strict=True, ge=1, le=MOST_PASSES)] = 1
    gates: tuple[Gate, ...] = Field(min_length=1)

    @property
    def basis_points(self) -> int:
        """The share in hundredths of a percent, 0 to 10,000."""
        return round(self.percent * 100)

    @property
    def deciding(self) -> list[Gate]:
        """The gates that decide: all but dry runs."""
        return [gate for gate in self.gates if not gate.dry_run]

    @field_validator("gates")
    @classmethod
    def _one_of_each(cls, gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
        _require_one_of_each(gates)
        if gates and all(gate.dry_run for gate in gates):
            raise ValueError("a step needs a gate that decides: all of its gates are dry runs")
        return gates


class Playbook(PlaybookPart):
    """A migration in steps that all go in one direction. `on_failure` always restores the share before the rollout.

    `on_failure` also applies if a request for approval is not answered within `approval_within_hours`. `alpha` is the
    probability that any gate of the rollout is ever wrong, at any number of looks. With `shadows`, gates on agreement and
    accuracy evaluate the items that both lanes answered, over all steps of the rollout; without, the items of their step.
    """

    name: str = Field(min_length=1, max_length=100, pattern=NAME)
    description: str = Field(min_length=1)
    direction: Direction
    before: Precondition | None = None
    shadows: Shadows | None = None
    steps: tuple[PlaybookStep, ...] = Field(min_length=1, max_length=50)
    approval_within_hours: Annotated[int, Field(strict=True, ge=1, le=LONGEST_MINUTES // 60)] = (
        APPROVAL_HOURS
    )
    on_failure: Literal["share_before"]
    alpha: Annotated[float, Field(strict=True, ge=0.0001, le=0.2)] = ALPHA

    @property
    def gate_alpha(self) -> float:
        """The probability that one gate is ever wrong: `alpha` divided evenly over the gates of all steps and preconditions.

        Dry runs get no part of it, because they decide nothing.
        """
        before = len(self.before.deciding) if self.before is not None else 0
        return self.alpha / (before + sum(len(step.deciding) for step in self.steps))

    def whole_gates(self, number: int) -> list[Gate]:
        """Return the gates of a step that are also evaluated over the whole rollout: those that all earlier steps have too.

        Each gets the loosest limit of these steps. The limits must be of one kind: all values, or all differences (of
        latencies, with the same `max`). Gates on pairs are left out, because they evaluate the whole rollout anyway.
        """
        results = list[Gate]()
        for gate in self.steps[number].gates if number else ():
            deciding = (each for step in self.steps[:number] for each in step.deciding)
            alike = [gate, *(each for each in deciding if each.measure is gate.measure)]
            kinds = {(each.worse_by is None, each.worse_by and each.max) for each in alike}
            if len(alike) <= number or len(kinds) > 1 or self.judges_pairs(gate):
                continue
            name, loosest = ("max", max) if gate.measure in UPPER else ("min", min)
            name, loosest = (name, loosest) if gate.worse_by is None else ("worse_by", max)
            limit = loosest(each.limit for each in alike)
            results.append(gate.model_copy(update={name: limit}))
        return results

    def judges_pairs(self, gate: Gate) -> bool:
        """Return whether a gate evaluates the items that both lanes answered."""
        return self.shadows is not None and gate.measure in PAIRED

    def lacks_pass(self, gate: Gate) -> bool:
        """Return whether a gate needs an authoritative pass, because nothing else compares the answers."""
        return gate.measure in CONFIRMING and not self.judges_pairs(gate)

    @model_validator(mode="after")
    def _goes_one_way(self) -> Self:
        for number in range(1, len(self.steps)):
            before, after = self.steps[number - 1].percent, self.steps[number].percent
            if not self.direction.goes_on(before, after):
                raise ValueError(
                    f"steps.{number}.percent: {after:g} does not go further {self.direction.replace('_', ' ')} than {before:g}"
                )
        if self.direction is Direction.VERSION and (self.shadows or self.before):
            subject = "shadows" if self.shadows else "before"
            raise ValueError(f"a new version has no `{subject}`, which is about the lanes")
        if self.direction is Direction.VERSION and self.steps[-1].percent < 100:
            raise ValueError(
                f"steps.{len(self.steps) - 1}.percent: the last step of a new version is 100, after which it is in force"
            )
        for number, step in enumerate(self.steps):
            unpaired = [gate for gate in step.gates if not self.judges_pairs(gate)]
            comparing = [gate for gate in unpaired if gate.compares]
            if unpaired and step.percent == self.direction.none_moved:
                raise ValueError(
                    f"steps.{number}.gates: {unpaired[0].measure} cannot be judged at {step.percent:g} %, where the split "
                    "sends the lane no items: before the first item moves, only agreement and accuracy by `shadows` are judged"
                )
            if self.direction is not Direction.VERSION and any(
                gate.measure is Measure.P95_S for gate in comparing
            ):
                raise ValueError(
                    f"steps.{number}.gates: p95_s is compared with another version only: a batch answers hours later than real "
                    "time, whatever either does well; between the lanes write `max` without `worse_by`"
                )
            if comparing and step.percent == self.direction.all_moved:
                subject = (
                    "`worse_by`" if comparing[0].worse_by is not None else comparing[0].measure
                )
                raise ValueError(
                    f"steps.{number}.gates: {subject} compares with {self.direction.giving}, which gets no items at "
                    f"{step.percent:g} %"
                )
        if self.direction is Direction.REALTIME_TO_BATCH:
            for number, step in enumerate(self.steps):
                confirming = [gate.measure for gate in step.gates if self.lacks_pass(gate)]
                if confirming:
                    also = "; `shadows` would compare both lanes" if confirming[0] in PAIRED else ""
                    raise ValueError(
                        f"steps.{number}.gates: {confirming[0]} compares real-time answers with later ones; items that go "
                        f"to batch have none{also}"
                    )
        return self

    def first_step(self, basis_points: int) -> int | None:
        """Return the number of the first step that does not lead back from the share in force, None if there is none."""
        share = basis_points / 100
        return next(
            (
                n
                for n, step in enumerate(self.steps)
                if not self.direction.goes_on(step.percent, share)
            ),
            None,
        )

    def find_owed_step(self, first: int) -> int | None:
        """Return the last step before `first` that needs approval, if any: a start at `first` skips its approval."""
        return max(
            (number for number, step in enumerate(self.steps[:first]) if step.approval),
            default=None,
        )

    @property
    def confirming(self) -> Measure | None:
        """The first measure of a gate that needs an authoritative pass, if any."""
        gates = (gate for step in self.steps for gate in step.gates)
        return next((gate.measure for gate in gates if self.lacks_pass(gate)), None)


def _require_one_of_each(gates: Sequence[Gate]) -> None:
    measures = [gate.measure for gate in gates]
    if len(set(measures)) < len(measures):
        raise ValueError("a step has at most one gate of each measure")


def playbook_names(folder: Path = FOLDER) -> list[str]:
    """Return the names of the playbooks in `migrations/playbooks`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(name: str, file: str = "", *, folder: Path = FOLDER) -> Playbook:
    """Return the playbook with that name in `migrations/playbooks`, or the playbook in `file`.

    Raises:
        PlaybookInvalid: there is no such file, or the error lists its wrong lines and fields.
    """
    if not file and name not in (known := playbook_names(folder)):
        problem = (
            f"there is no file of that name in migrations/playbooks, which has {', '.join(known)}"
        )
        raise PlaybookInvalid(name, [problem])
    path = Path(file) if file else folder / f"{name}.yaml"
    try:
        if not path.is_file():
            raise PlaybookInvalid(path.stem, [f'there is no file "{path}"'])
        with path.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise PlaybookInvalid(path.stem, [f'the file "{path}" cannot be read: {error}']) from None
    if len(content) > MOST_BYTES:
        large = f'the file "{path}" is larger than 256 KiB; a playbook is not'
        raise PlaybookInvalid(path.stem, [large])
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PlaybookInvalid(path.stem, [f"line {line}: not UTF-8"]) from None
    return parse(path.stem, text)


def block_name(reference: str) -> str | None:
    """Return the name of the Prefect block in `block:NAME`; None for a file.

    Raises:
        PlaybookInvalid: no block can have that name.
    """
    if not reference.startswith(IN_BLOCK):
        return None
    name = reference.removeprefix(IN_BLOCK)
    if re.fullmatch(NAME, name) is None:
        raise PlaybookInvalid(name, ['a block has a name of a-z, 0-9 and "-": write block:NAME'])
    return name


def read_block(name: str, data: Mapping[str, Any] | None) -> Playbook:
    """Return the playbook of a Prefect block; `data` is the block's document, None if there is no such block.

    Raises:
        PlaybookInvalid: there is no such block, or the error lists its wrong lines and fields.
    """
    if data is None:
        missing = f'there is no block "{name}" of type Lanes playbook; make it under Blocks'
        raise PlaybookInvalid(name, [missing])
    content = str(data.get("content") or "")
    if len(content.encode(errors="replace")) > MOST_BYTES:
        raise PlaybookInvalid(name, ["the block is larger than 256 KiB; a playbook is not"])
    return parse(name, content)


def parse(name: str, text: str) -> Playbook:
    """Return the playbook of a file or block; `name` is the name of the file without its suffix, or of the block.

    Raises:
        PlaybookInvalid: the error lists the line and the field of every problem.
    """
    try:
        root, data = yaml_places.read(text)
    except NotYaml as error:
        raise PlaybookInvalid(
            name, [f"line {error.place.line}: {error}" if error.place else str(error)]
        ) from None
    if not isinstance(root, yaml.MappingNode):
        raise PlaybookInvalid(
            name, ["line 1: a playbook is a mapping with name, description, direction and steps"]
        )
    problems = [
        f"line {place.line}, {field}: {problem}"
        for place, field, problem in yaml_places.odd_keys(root)
    ]
    if problems:
        raise PlaybookInvalid(name, problems)
    return _validate(name, data, root)


def _validate(name: str, data: Any, root: yaml.MappingNode) -> Playbook:
    try:
        playbook = Playbook.model_validate(data)
    except ValidationError as error:
        problems = []
        places = {fault["loc"] for fault in error.errors()}
        for fault in error.errors():
            path = list(fault["loc"])
            if fault["type"] == "too_short" and any(
                path == list(loc)[: len(path)] for loc in places - {fault["loc"]}
            ):
                continue  # the list is too short only because its parts were refused
            message = WORDING.get(fault["type"], fault["msg"]).removeprefix("Value error, ")
            # The message of a rule over the whole file begins with its place.
            if not path and message.startswith("steps."):
                where, message = message.split(": ", 1)
                path = [int(part) if part.isdigit() else part for part in where.split(".")]
            problems.append(
                f"line {yaml_places.place(root, path).line}, {'.'.join(map(str, path)) or 'playbook'}: {message}"
            )
        raise PlaybookInvalid(name, problems) from None
    if never := _find_impassable(playbook, root):
        raise PlaybookInvalid(name, never)
    if playbook.name != name:
        line = yaml_places.place(root, ["name"]).line
        raise PlaybookInvalid(
            name,
            [
                f'line {line}, name: "{playbook.name}" is not the name of its file or block, "{name}"'
            ],
        )
    return playbook


def _find_impassable(playbook: Playbook, root: yaml.MappingNode) -> list[str]:
    """Return the problems of gates that tolerate nothing: no number of samples proves that a share is 0."""
    problems = []
    places = [(["steps", number], step.gates) for number, step in enumerate(playbook.steps)]
    if playbook.before is not None:
        places.append((["before"], playbook.before.gates))
    for place, gates in places:
        for index, gate in enumerate(gates):
            if gate.tolerance <= 0 and not gate.dry_run:
                path = [*place, "gates", index]
                problems.append(
                    f"line {yaml_places.place(root, path).line}, {'.'.join(map(str, path))}: {gate.measure} tolerates "
                    "nothing, and no number of samples proves that; say which share it tolerates"
                )
    return problems
