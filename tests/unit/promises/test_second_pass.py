"""The early answers that get a second pass: all, the uniform sample, or those that fail a check."""

from decimal import Decimal
from random import Random
from typing import Any

import pytest

from lanes.promises.second_pass import ALPHA, ClassRecord, PassRecords, SecondPasses
from lanes.statistics.shares import SampleShare
from lanes.workload.version import SecondPass
from tests.conftest import NOON
from tests.examples import version
from tests.second_pass_worlds import WorldClass, lead

GOOD, SHIFT = WorldClass(1, 0.99), 0.5
FULL: dict[str, Any] = {"risk": 0.05, "sample": 0.1}
SCHEMA = {
    "type": "object",
    "properties": {
        "category": {"type": "string", "enum": ["a", "b"]},
        "confidence": {"type": "number"},
    },
    "required": ["category"],
    "additionalProperties": False,
}
KEYS = [f"k{n}" for n in range(2_000)]


def passes(*sampled: str, **second_pass: Any) -> SecondPasses:
    of = version(mode="lambda", output_schema=SCHEMA, second_pass=second_pass)
    return SecondPasses(of, sampled)


def left_out(of: SecondPasses, **output: Any) -> float:
    """Return the share of keys whose answer gets no second pass."""
    return sum(of.leaves_out(key, output) for key in KEYS) / len(KEYS)


def test_every_answer_gets_its_second_pass_unless_the_workload_says_otherwise() -> None:
    assert left_out(passes("a"), category="a") == 0


def test_only_the_uniform_sample_of_a_sampled_class_gets_a_second_pass() -> None:
    of = passes("a", risk=0.05, sample=0.2)
    assert left_out(of, category="a") == pytest.approx(0.8, abs=0.03)
    assert left_out(of, category="b") == 0


def test_raising_the_sample_only_adds_to_it() -> None:
    small, large = (passes("a", risk=0.05, sample=share) for share in (0.1, 0.3))
    assert all(large.draws(key) for key in KEYS if small.draws(key))


@pytest.mark.parametrize(
    ("second_pass", "output", "fails"),
    [
        ({"confidence_below": 0.8}, {"confidence": 0.7}, True),
        ({"confidence_below": 0.8}, {"confidence": 0.8}, False),
        ({"confidence_below": 0.8}, {"confidence": None}, True),
        ({"confidence_below": 0.8}, {}, True),
        ({"when": 'output.category == "a"'}, {}, True),
        ({"when": 'output.category == "b"'}, {}, False),
        ({"when": "output.confidence < 0.5"}, {}, True),  # cannot be computed
        ({"when": "output.confidence < 0.5"}, {"confidence": 0.6}, False),
    ],
)
def test_an_answer_that_fails_the_check_always_gets_its_second_pass(
    second_pass: dict[str, Any], output: dict[str, Any], fails: bool
) -> None:
    output = {"category": "a", **output}
    assert left_out(passes(**second_pass), **output) == pytest.approx(0 if fails else 0.9, abs=0.03)
    assert left_out(passes("a", risk=0.1, **second_pass), **output) == pytest.approx(
        0 if fails else 0.9, abs=0.03
    )
    assert left_out(passes(risk=0.1, **second_pass), **output) == 0


@pytest.mark.slow
def test_a_class_is_sampled_only_once_its_agreement_is_surely_high() -> None:
    found = lead([GOOD], FULL, answers=250)
    assert found.saved_share == 0
    found = lead([GOOD, WorldClass(1, 0.9)], FULL, answers=8_000, delay=0)
    assert found.saved["class0"] > 0.3 * found.answers["class0"]
    assert found.saved["class1"] == 0


@pytest.mark.slow
def test_a_class_whose_agreement_falls_returns_to_the_full_pass() -> None:
    found = lead([WorldClass(1, 0.99, later=0.5, shift=SHIFT)], FULL, answers=20_000)
    assert found.records is not None
    assert not found.records.by_class["class0"].sampled
    missed_after = found.missed["class0"] - 0.01 * found.saved["class0"]
    assert missed_after < 0.05 * SHIFT * 20_000
    assert found.records.by_class["class0"].agreement.samples < 20_000


@pytest.mark.slow
def test_a_check_alone_leaves_out_passing_answers_and_the_sample_measures_the_misses() -> None:
    found = lead([WorldClass(1, 0.9)], {"confidence_below": 0.8, "sample": 0.1}, answers=8_000)
    assert found.saved_share == pytest.approx(0.9 * 0.95, abs=0.02)
    assert found.records is not None
    of_class = found.records.by_class["class0"]
    assert found.missed["class0"] <= of_class.most_missed <= 3 * found.missed["class0"]
    assert found.records.checked_share == pytest.approx(1 - found.saved_share, abs=0.02)


def test_only_a_fair_sample_is_evidence() -> None:
    of = version(mode="lambda", output_schema=SCHEMA, second_pass={"risk": 0.1, "when": "false"})
    records, answer = PassRecords(of), {"category": "a"}
    drawn = next(key for key in KEYS if records.passes.draws(key))
    other = next(key for key in KEYS if not records.passes.draws(key))
    for key, at_once in ((drawn, False), (other, True), (other, False)):
        records.compare(key, answer, agrees=False, owed_at_once=at_once, usd=Decimal(1))
    found = records.by_class["a"]
    assert found.agreement == SampleShare(0, 2)
    assert (found.passes, found.checked, found.caught, found.corrected) == (3, 1, 1, 2)


def test_passes_that_have_not_returned_count_as_wrong() -> None:
    of = ClassRecord(answers=1_000, saved=900, drawn=100, checked=100)
    of.look(SecondPass(**FULL), NOON)
    back = of.most_missed
    of.checked = 90
    of.look(SecondPass(**FULL), NOON)
    assert back < 70 < of.most_missed


def test_records_in_another_format_are_discarded_and_valid_records_are_kept() -> None:
    of = version(mode="lambda", output_schema=SCHEMA, second_pass=FULL)
    assert PassRecords(of, {"a": {"answers": "many"}}).by_class == {}
    kept = PassRecords(
        of, {"a": ClassRecord(answers=3, sampled=True, since=NOON).model_dump(mode="json")}
    )
    assert kept.passes.sampled == {"a"}
    assert kept.by_class["a"].estimate_checked_share(SecondPass(**FULL)) == pytest.approx(0.325)


@pytest.mark.slow
def test_the_missed_corrections_stay_under_the_stated_risk_with_the_promised_confidence() -> None:
    drawn, exceeded, led = Random(7), 0, 0
    for seed in range(60):
        classes = [
            WorldClass(
                drawn.choice([0.02, 0.2, 1]),
                drawn.choice([1, 0.99, 0.97, 0.95, 0.9]),
                drawn.choice([None, 0.9, 0.7, 0.3, 0.0]),
                drawn.random(),
            )
            for _ in range(drawn.randint(1, 4))
        ]
        second_pass = {
            "risk": drawn.choice([0.02, 0.05, 0.1, 0.2]),
            "sample": drawn.choice([0.02, 0.1, 0.3]),
        }
        every, delay = drawn.choice([50, 200]), drawn.choice([0, 200, 1_000])
        answers = drawn.choice([3_000, 8_000])
        found = lead(classes, second_pass, answers=answers, every=every, delay=delay, seed=seed)
        exceeded, led = exceeded + len(found.exceeded), led + len(classes)
    assert exceeded <= ALPHA * led
