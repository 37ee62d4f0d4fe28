"""The amounts of an advice in terminal, artifact and JSON: all three agree, and an unknown amount is not shown as a number."""

import base64
import json
import re
from decimal import Decimal
from xml.etree import ElementTree

import pytest

from lanes.advice.evidence import ConsumerUse, Evidence, LimitUse, ModelPrice
from lanes.advice.recommendation import Advice, advise
from lanes.advice.savings import Savings
from lanes.advice.spread import Interval
from lanes.commands.advise import as_data
from lanes.money.overhead import OverheadKind, Overheads
from lanes.report import advice as report
from lanes.report import advice_numbers
from lanes.words import Lane, Mode
from tests.unit.advice.test_advice import evidence, shown
from tests.unit.advice.test_spread import day, lived
from tests.unit.report.explaining import in_artifact, in_terminal, unexplained

SAVED = Savings(
    *(Decimal(each) for each in ("10", "4", "1", "0", "0.5", "1.5", "0", "-1", "-0.25", "4.25"))
)


@pytest.fixture
def whole() -> Advice:
    """Return advice from twenty days of differing volume, with a limit, another model and savings."""
    days = [day(items=1_000 + 20 * each) for each in range(20)]
    seen = lived(
        days,
        savings=SAVED,
        models=[ModelPrice("claude-opus-5-5", 40, 40)],
        peak_per_minute=10,
        limits=(LimitUse("requests", 50, 50, 1.0, 2.0),),
        compared=100,
        corrected=10,
        distance=0.25,
        consumers=[ConsumerUse("desk", 1_000, demanded=100, deferred=900, realtime=1_000)],
    )
    overheads = Overheads(20, 10, 5, 5, ((Lane.REALTIME, OverheadKind.ENGINEERING),))
    return advise(seen, overheads, correction_usd=1)


def test_the_terminal_and_the_artifact_show_every_part_of_the_advice(whole: Advice) -> None:
    terminal, artifact = shown(whole), report.render_page(whole)
    for page in (terminal, artifact):
        for said in (
            "Total with 95 %",
            "as it is: real-time only",
            "(recommended)",
            "saved by packing",
            "added by second passes",
            "twice the volume",
            "claude-opus-5-5 on both lanes",
            "jackknife by days",
            "lanes overhead set",
            "(assumed)",
            "surely; they agree",
            "its worth is headroom",
            "25 % of its fields change",
        ):
            assert said in page, said
    assert "saved by another model" not in terminal  # a saving of zero is not shown
    assert whole.against[1:] in terminal.replace("\n", "")


def test_every_figure_is_explained_below_its_table(whole: Advice) -> None:
    late = advise(
        evidence(
            ConsumerUse(
                "nightly", 900, realtime=900, reads=300, at_once=3, median_s=7_200, unknown=12
            )
        )
    )
    figures = set[str]()
    for of in (whole, late):
        for page in (in_terminal(report.render_console(of)), in_artifact(report.render_page(of))):
            assert unexplained(page) == []
            figures |= {name for each in page for name in each.figures}
    assert {
        "Speaks",
        "Total with 95 %",
        "Break-even share r*",
        "Paid",
        "Of the first",
        "Recommended",
        "Unknown",
    } <= figures


def test_the_artifact_is_small_and_its_charts_are_well_formed_and_690_px_wide(
    whole: Advice,
) -> None:
    artifact = report.render_page(whole)
    assert len(artifact.encode()) < 50_000
    drawn = [base64.b64decode(each) for each in re.findall(r"base64,([A-Za-z0-9+/=]+)\)", artifact)]
    assert [ElementTree.fromstring(each).get("width") for each in drawn] == ["690"] * 3
    assert all(
        row.count("|") <= 8 + 1 for row in artifact.splitlines() if row.startswith("|")
    )  # at most 7 columns


def test_json_has_every_part_and_amounts_as_numbers(whole: Advice) -> None:
    told = json.loads(json.dumps(as_data(whole), allow_nan=False))
    assert told["savings"]["saved_usd"] == 5.75
    assert told["plan"]["pattern"] == told["pattern"]
    assert told["now"]["paid_usd"] > told["plan"]["paid_usd"]
    assert {each["case"] for each in told["sensitivities"]} >= {
        "twice the volume",
        "claude-opus-5-5 on both lanes",
    }
    assert (
        told["intervals"]["share"]["low"]
        < told["worked_out"]["break_even_share"]
        < told["intervals"]["share"]["high"]
    )
    assert told["overheads"]["assumed"] == [["realtime", "engineering"]]


def test_the_saving_steps_add_up_from_the_first_amount_to_the_last(whole: Advice) -> None:
    parts = advice_numbers.saving_parts(whole)
    assert parts[0][1] - sum(amount for _, amount in parts[1:-1]) == parts[-1][1]
    assert advice_numbers.saving_rows(whole)[1] == ("saved by packing", "$4.00", "40 %")
    assert "+$1.00" in report.steps(parts)
    assert "nothing was saved" in report.steps([])


def test_unknown_amounts_are_shown_without_a_number() -> None:
    nothing = advise(Evidence("letters", Mode.PLAIN, days=0, items=0))
    for page in (shown(nothing), report.render_page(nothing)):
        assert "No intervals: 0 days seen; they need 7 with billed calls." in page
        assert "twice the volume" not in page
        assert "as it is" not in page
    artifact = report.render_page(nothing)
    assert artifact.count("Not enough data") >= 3
    told = as_data(nothing)
    assert (told["plan"], told["now"], told["savings"], told["plans"], told["sensitivities"]) == (
        None,
        None,
        None,
        [],
        [],
    )
    assert {name for name, each in told["intervals"].items() if each is not None} == {"days"}


def test_the_break_even_chart_shades_its_confidence_interval() -> None:
    even = advise(evidence()).break_even
    plain, shaded = (
        report.break_even(even, 0.1, each) for each in (None, Interval(80_000, 120_000))
    )
    assert shaded.count("<rect") == plain.count("<rect") + 1


def test_a_break_even_that_never_pays_is_shown_without_a_share() -> None:
    never = advise(lived([day(items=90)] * 10))
    assert "none: it never pays; 95 % surely" in shown(never)
