"""The early answers of a Lambda workload that get their second pass: all, a uniform sample, or those that fail a check.

The sample is drawn by a hash of the item's key, so an answer does not influence whether it is checked. A class of answers is
only sampled once two bounds hold, each at every look (`lanes.statistics.shares`):

- over the newest comparisons, more than 1 - risk of its answers are proven to agree with the second pass;
- its wrong answers that stay unchecked are proven to be at most `risk` of all its answers. A wrong answer is in the sample
  with a known probability, so this bound holds however the quality changes. Passes that have not come back count as wrong.

If the newest comparisons are proven to agree less, older comparisons are dropped, and the class is checked in full again.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ValidationError

from lanes.errors import RuleFailed
from lanes.money.pack_size import total
from lanes.promises.quality import find_class
from lanes.routing.split import is_sampled
from lanes.statistics.shares import NOTHING, SampleShare, clean_samples, is_above, is_below
from lanes.workload.version import SecondPass, Version

ALPHA = 0.05  # probability that a bound of a class ever errs
NEWEST, PORTION = 2_000, 20  # comparisons that count, and comparisons of one portion


class ClassRecord(BaseModel):
    """The record of a class's early answers; `drawn` is the number of answers of the uniform sample that passed the check.

    Of the drawn answers, `checked` have been compared and `caught` were wrong; `corrected` of the other answers were wrong.
    `portions` has the newest comparisons, oldest first. `sampled` is true if only the sample is checked, since the time
    `since`.
    """

    answers: int = 0
    failed_check: int = 0
    saved: int = 0  # settled without a second pass
    drawn: int = 0
    checked: int = 0
    caught: int = 0
    corrected: int = 0
    passes: int = 0  # all second passes that came back, and their cost
    usd: Decimal = Decimal(0)
    portions: list[SampleShare] = []
    most_missed: int = 0  # proven upper bound of the wrong answers that were not checked
    sampled: bool = False
    since: datetime | None = None

    @property
    def agreement(self) -> SampleShare:
        """Return the agreement over the newest comparisons."""
        return total(self.portions)

    def estimate_checked_share(self, of: SecondPass) -> float:
        """Return the estimated share of the class's next answers that get a second pass."""
        failing = (self.failed_check + 1) / (self.answers + 1)
        return failing + (1 - failing) * of.sample if self.sampled or not of.risk else 1.0

    def add(self, **more: Any) -> None:
        """Count more answers or passes."""
        for name, n in more.items():
            setattr(self, name, getattr(self, name) + n)

    def compare(self, *, agrees: bool) -> None:
        """Count one more comparison."""
        if not self.portions or self.portions[-1].samples >= PORTION:
            self.portions.append(NOTHING)
        hits, samples = self.portions[-1]
        self.portions[-1] = SampleShare(hits + agrees, samples + 1)

    def look(self, second_pass: SecondPass, now: datetime) -> None:
        """Decide whether only the sample is checked from now on."""
        newest = NOTHING
        for first in reversed(range(len(self.portions))):
            newest = total((newest, self.portions[first]))
            fewer = is_below(newest, 1 - second_pass.risk, alpha=ALPHA)
            if fewer or newest.samples >= NEWEST:
                self.portions = self.portions[first:]
                break
        caught = self.caught + max(0, self.drawn - self.checked)
        wrong = (
            clean_samples(second_pass.sample, alpha=ALPHA, hits=caught) - 1
            if second_pass.sample < 1
            else caught
        )
        self.most_missed = min(self.saved, max(0, wrong - caught - self.corrected))
        is_safe = second_pass.risk > 0 and self.most_missed <= second_pass.risk * self.answers
        sampled = is_safe and is_above(newest, 1 - second_pass.risk, alpha=ALPHA)
        if sampled is not self.sampled:
            self.sampled, self.since = sampled, now


class SecondPasses:
    """The second passes of a version; `sampled` has the classes of which only the sample is checked."""

    def __init__(self, version: Version, sampled: Collection[str] = ()) -> None:
        self.version, self._of = version, version.spec.second_pass
        self.sampled = frozenset(sampled)

    def leaves_out(self, key: str, output: Mapping[str, Any]) -> bool:
        """Return whether an early answer of the item stays without a second pass."""
        if not self._of.is_stated or self.draws(key):
            return False
        if self._of.risk and self.class_of(output) not in self.sampled:
            return False
        return not self.fails_check(output)

    def draws(self, key: str) -> bool:
        """Return whether the item is in the uniform sample."""
        return is_sampled(self.version.workload, key, self._of.sample)

    def class_of(self, output: Mapping[str, Any]) -> str:
        """Return the class of an answer; empty if classes are not distinguished."""
        return find_class(output, self.version.spec.output_schema)[1]

    def fails_check(self, output: Mapping[str, Any]) -> bool:
        """Return whether an answer fails the workload's check; an answer that cannot be checked fails."""
        if self._of.confidence_below:
            stated = output.get(self._of.confidence_field)
            if not isinstance(stated, int | float) or stated < self._of.confidence_below:
                return True
        rule = self.version.fails_when
        try:
            return rule is not None and rule.holds({"output": output})
        except RuleFailed:
            return True


class PassRecords:
    """The records of a version's classes, updated with each answer and comparison."""

    def __init__(self, version: Version, records: Mapping[str, Any] | None = None) -> None:
        self.of = version.spec.second_pass
        try:
            read = {
                name: ClassRecord.model_validate(each) for name, each in (records or {}).items()
            }
        except ValidationError:  # written by another release
            read = dict[str, ClassRecord]()
        self.by_class = read
        self.passes = SecondPasses(version, {name for name, each in read.items() if each.sampled})

    def answer(self, key: str, output: Mapping[str, Any], *, saved: bool) -> None:
        """Count an early answer; `saved` is true if its second pass was left out."""
        fails = self.passes.fails_check(output)
        drawn = not fails and self.passes.draws(key)
        of_class = self._of(self.passes.class_of(output))
        of_class.add(answers=1, failed_check=fails, saved=saved, drawn=drawn)

    def compare(
        self, key: str, output: Mapping[str, Any], *, agrees: bool, owed_at_once: bool, usd: Decimal
    ) -> None:
        """Count the second pass of an early answer; `owed_at_once` is true if the answer alone decided that the pass is owed.

        The pass is evidence if the answer was drawn, or if all answers of its class were checked at that time: no other pass is
        a fair sample.
        """
        name, drawn = self.passes.class_of(output), self.passes.draws(key)
        of_class = self._of(name)
        of_class.add(passes=1, usd=usd)
        if self.passes.fails_check(output):
            return
        if drawn:
            of_class.add(checked=1, caught=not agrees)
        else:
            of_class.add(corrected=not agrees)
        if drawn or (owed_at_once and name not in self.passes.sampled):
            of_class.compare(agrees=agrees)

    def look(self, now: datetime) -> SecondPasses:
        """Decide again for every class, and return the second passes in force from now on."""
        for each in self.by_class.values():
            each.look(self.of, now)
        sampled = {name for name, each in self.by_class.items() if each.sampled}
        self.passes = SecondPasses(self.passes.version, sampled)
        return self.passes

    def dump(self) -> dict[str, Any]:
        """Return the records as JSON data."""
        return {name: each.model_dump(mode="json") for name, each in self.by_class.items()}

    @property
    def checked_share(self) -> float:
        """Return the estimated share of the next early answers that get a second pass; 1 if there are no answers yet."""
        answers = sum(each.answers for each in self.by_class.values())
        shares = (
            each.answers * each.estimate_checked_share(self.of) for each in self.by_class.values()
        )
        return sum(shares) / answers if answers else 1.0

    def _of(self, name: str) -> ClassRecord:
        return self.by_class.setdefault(name, ClassRecord())
