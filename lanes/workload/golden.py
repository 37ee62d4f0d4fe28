"""The score of a new version on a golden set, compared with the version in force."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lanes.ids import VersionId
from lanes.json_data import is_same_json
from lanes.statistics.differences import PairedShares
from lanes.statistics.shares import SampleShare, bounds
from lanes.units import pluralize, share
from lanes.words import GoldenState, Lane
from lanes.workload.answer_check import AnswerCheck

ALPHA = 0.05  # largest probability that a version is refused although it is no worse
SURE = 0.01  # probability that the true difference is outside of the shown bounds
SHOWN = 5  # number of keys and faults in a sentence
# Keywords of a schema that may require fields which a label leaves out.
OF_ALL = ("required", "minProperties", "anyOf", "allOf", "oneOf", "not", "if", "dependentRequired")


def label_check(output_schema: Mapping[str, Any]) -> AnswerCheck:
    """Return the check of a label, which may have only some of the fields of an answer."""
    return AnswerCheck({name: rule for name, rule in output_schema.items() if name not in OF_ALL})


def label_faults(
    expected: Mapping[str, Any], output_schema: Mapping[str, Any], check: AnswerCheck
) -> Iterator[str]:
    """Yield the reasons why a label cannot be part of an answer to this schema; `check` is the schema's `label_check`."""
    fields = output_schema.get("properties", {})
    for name, value in expected.items():
        if name not in fields:
            yield f'its label names "{name}", which is no field of output_schema'
        elif (fault := check.first_fault({name: value})) is not None:
            yield f"its label breaks the schema at {fault.rule}" if fault.keyword else fault.message


def is_right(expected: Mapping[str, Any], output: Mapping[str, Any] | None) -> bool:
    """Return whether an answer agrees with every labeled field; a missing answer (None) does not."""
    return output is not None and all(
        name in output and is_same_json(value, output[name]) for name, value in expected.items()
    )


@dataclass(frozen=True)
class GoldenScore:
    """The numbers of items that each version answered right, and the items that only the version in force answered right.

    `lost` counts the latter, and `lost_keys` are their first keys. `right_before` is None if no version was in force.
    """

    items: int
    right_now: int
    right_before: int | None
    lost: int
    lost_keys: Sequence[str]

    @property
    def paired_shares(self) -> PairedShares:
        """The wrong answers of both versions to the same items; the new version is `one`."""
        before = self.right_now + self.lost if self.right_before is None else self.right_before
        gained = self.right_now - before + self.lost
        return PairedShares(self.lost, gained, self.items - self.lost - gained)

    @property
    def is_worse(self) -> bool:
        """Whether the new version is surely wrong more often than the version in force."""
        return self.right_before is not None and self.paired_shares.is_worse(alpha=ALPHA)

    def bounds(self) -> tuple[float, float]:
        """Return the 99 % bounds of the true gain: the share of right answers now minus before."""
        low, high = self.paired_shares.bounds(alpha=SURE)
        return -high, -low


def score(
    answered: Sequence[tuple[str, Mapping[str, Any], Any, Any]], *, compares: bool
) -> GoldenScore:
    """Return the score of items, each given as key, label, new answer and earlier answer; None is a missing answer.

    `compares`: a version was in force.
    """
    results = [
        (key, is_right(label, now), is_right(label, before)) for key, label, now, before in answered
    ]
    lost = [key for key, now, before in results if compares and before and not now]
    return GoldenScore(
        len(results),
        sum(now for _, now, _ in results),
        sum(before for *_, before in results) if compares else None,
        len(lost),
        lost[:SHOWN],
    )


@dataclass(frozen=True)
class GoldenRun:
    """The current state of a run over a golden set; `version` and `before` are version numbers as operators see them.

    `answered` counts the items that the version has answered so far. `score` is set when the run has been evaluated.
    `is_first`: no version is in force.
    """

    id: int
    workload: str
    version_id: VersionId
    version: int
    hash: str
    before_id: VersionId | None
    before: int | None
    lane: Lane
    state: GoldenState
    items: int
    answered: int
    began_at: datetime
    ended_at: datetime | None = None
    score: GoldenScore | None = None
    is_first: bool = False

    @property
    def sentence(self) -> str:
        """A sentence about the state of the version, with its figures."""
        if self.state is GoldenState.RUNNING:
            how = f"{self.answered} of {pluralize(self.items, 'golden item')} answered by the {self.lane} lane"
            message = (
                f"version {self.version} is a candidate: {how}; it comes into force automatically"
            )
            if self.is_first:
                return f"{message} once all are answered. Until then items are refused: no version is in force"
            return f"{message} unless it is surely worse"
        if self.score is None:
            return (
                f"version {self.version} was no longer a candidate when its golden set was answered"
            )
        result, now = self.score, self.score.right_now
        if result.right_before is None:
            low, high = map(share, bounds(SampleShare(now, result.items), alpha=SURE))
            answered = f"answered {now} of {pluralize(result.items, 'golden item')} right"
            return (
                f"version {self.version} {answered} (99 % bounds of its accuracy: {low} to {high})"
            )
        low, high = (100 * each for each in result.bounds())
        figures = (
            f"it answered {now} of {pluralize(result.items, 'golden item')} right, version {self.before} {result.right_before} "
            f"(99 % bounds of the gain: {low:+.1f} to {high:+.1f} points)"
        )
        lost = f"; lost: {_format_keys(result.lost_keys, result.lost)}" if result.lost else ""
        if self.state is GoldenState.REFUSED:
            return (
                f"version {self.version} is surely worse than version {self.before} and stays out of force: {figures}{lost}. "
                "`lanes publish --force` puts it in force anyway"
            )
        return f"version {self.version} is not surely worse than version {self.before}: {figures}{lost}"


def _format_keys(keys: Sequence[str], number: int) -> str:
    more = f" and {number - len(keys)} more" if number > len(keys) else ""
    return ", ".join(keys) + more
