"""The numbers and names on the concept pages match the code."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import isfinite

import pytest

from lanes import errors
from lanes.advice.plans import BreakEven
from lanes.money.overhead import ASSUMED_USD
from lanes.promises.assessment import ALERTS, FAST, NAMES, SHORT, threshold
from lanes.promises.incident import TERMS, Promise
from lanes.rollouts.gates import Measure
from lanes.rollouts.playbook import ALPHA
from lanes.routing.turnaround import NOTHING, Turnaround
from lanes.statistics.shares import SampleShare, bounds, clean_samples
from lanes.words import ItemState, Lane, Reason
from lanes.workload.form import Promises
from lanes.workload.prices import Usage, cost
from lanes.workload.version import Spec
from tests.docs.blocks import DOCS, table

DAY = datetime(2026, 11, 26, tzinfo=UTC)  # the date of the list prices that the pages name
SHARED, OWN, ANSWER = 4000, 200, 80  # tokens of the pages' example item
MODELS = {
    "Haiku 5.5": "claude-haiku-5-5",
    "Sonnet 5.5": "claude-sonnet-5-5",
    "Opus 5.5": "claude-opus-5-5",
}
AT_THE_DOOR = list(Reason)[
    : list(Reason).index(Reason.FALLBACK)
]  # the later reasons apply to items that already have a route


def number(text: str) -> float:
    """Return the first number in a text."""
    found = re.search(r"-?[\d,]*\.?\d+", text)
    assert found is not None
    return float(found[0].replace(",", ""))


def per_thousand(model: str, lane: Lane, pack: int = 1) -> float:
    return 1000 * float(
        cost(Usage(input=SHARED // pack + OWN, output=ANSWER), model=model, lane=lane, at=DAY)
    )


@pytest.mark.parametrize(
    "row",
    table("concepts/buffering-and-packing.md", headed="items per call"),
    ids=lambda row: row[0],
)
def test_the_packing_page_states_the_cost_of_each_pack_size(row: list[str]) -> None:
    pack, realtime, batch = map(number, row)
    assert [round(per_thousand("claude-haiku-5-5", lane, int(pack)), 3) for lane in Lane] == [
        realtime,
        batch,
    ]


def test_the_packing_page_states_the_defaults_of_the_fields() -> None:
    rows = table("concepts/buffering-and-packing.md", headed="field")
    defaults = {name: Spec.model_fields[name].default for name, *_ in rows}
    told = {
        name: default if isinstance(defaults[name], str) else number(default)
        for name, default, _ in rows
    }
    assert told == defaults


def test_the_lambda_page_states_the_cost_of_a_second_pass() -> None:
    realtime, batch = (per_thousand("claude-haiku-5-5", lane) for lane in Lane)
    for mode, share, told, *_ in table("concepts/lambda.md", headed="mode"):
        part = number(share) / 100
        twice = part * batch if mode == "lambda" else 0
        assert round(part * realtime + (1 - part) * batch + twice, 2) == number(told)


@pytest.mark.parametrize(
    "row", table("concepts/break-even.md", headed="model"), ids=lambda row: row[0]
)
def test_the_break_even_page_states_the_volume_from_which_a_second_lane_pays(
    row: list[str],
) -> None:
    model, each, volume, net = row
    fixed = sum(float(usd) for (lane, _), usd in ASSUMED_USD.items() if lane is Lane.BATCH)
    even = BreakEven(1_000_000, per_thousand(MODELS[model], Lane.REALTIME) / 1000, 0.5, fixed)
    assert even.realtime_usd == pytest.approx(number(each))
    assert even.volume(0.2) == pytest.approx(number(volume), rel=0.01)
    assert round(even.net(0.2)) == number(net)


def test_the_deadlines_page_states_the_assumed_turnaround_of_batches() -> None:
    law = Turnaround(
        NOTHING, usual=timedelta(minutes=Spec.model_fields["batch_expected_minutes"].default)
    )
    for probability, minutes in table("concepts/deadlines-and-rescue.md", headed="probability"):
        assert round(law.within(number(probability) / 100).total_seconds() / 60) == number(minutes)


def test_the_decision_page_states_the_value_that_waiting_for_a_batch_loses() -> None:
    law, unit_s = (
        Turnaround(NOTHING, usual=timedelta(hours=1)),
        {"min": 60, "h": 3600, "week": 604_800},
    )
    saved = (
        per_thousand("claude-haiku-5-5", Lane.REALTIME)
        - per_thousand("claude-haiku-5-5", Lane.BATCH)
    ) / 1000
    for half_life, lost, of_a_cent, saves, better in table(
        "concepts/decision-framework.md", headed="half-life"
    ):
        loses = 1 - law.compute_remainder(number(half_life) * unit_s[half_life.split()[1]])
        assert number(lost) == pytest.approx(100 * loses, abs=0.5)
        assert number(of_a_cent) == pytest.approx(0.01 * loses, rel=0.1)
        assert number(saves) == pytest.approx(saved)
        assert better.startswith("real-time" if 0.01 * loses > saved else "batch")


def test_the_decision_page_lists_the_reasons_of_a_route_in_their_order() -> None:
    assert [row[0] for row in table("concepts/decision-framework.md", headed="reason")] == list(
        map(str, AT_THE_DOOR)
    )


def test_the_pages_list_every_state_promise_and_measure() -> None:
    assert [row[0] for row in table("concepts/lanes-and-items.md", headed="state")] == list(
        map(str, ItemState)
    )
    assert {row[0] for row in table("concepts/promises-and-incidents.md", headed="promise")} == set(
        map(str, Promise)
    )
    handled = [row[0] for row in table("how-to/handle-an-incident.md", headed="promise")]
    named = {name for cell in handled for name in re.findall(r"[a-z]+_[a-z_]+|budget", cell)}
    assert named == {*map(str, Promise)}
    assert [row[0] for row in table("concepts/rollouts.md", headed="measure")] == list(
        map(str, Measure)
    )


def test_the_promises_page_states_the_default_limits() -> None:
    told = {row[0]: row[2] for row in table("concepts/promises-and-incidents.md", headed="promise")}
    limits = {
        Promise.BATCH_SLOW: "batch_max_minutes",
        Promise.BATCH_FAILING: "batch_max_failure_percent",
        Promise.BATCH_INVALID: "batch_max_invalid_percent",
        Promise.REALTIME_SLOW: "realtime_p95_s",
        Promise.REALTIME_FAILING: "realtime_max_error_percent",
        Promise.DEADLINE_MISSED: "deadline_max_missed_percent",
        Promise.QUALITY_DRIFT: "quality_reference_answers",
    }
    assert set(limits.values()) == set(Promises.model_fields)
    assert {each: number(told[each]) for each in limits} == {
        each: Promises.model_fields[name].default for each, name in limits.items()
    }


def test_the_promises_page_states_the_multiple_of_a_limit_at_which_a_breach_is_critical() -> None:
    page = " ".join((DOCS / "concepts/promises-and-incidents.md").read_text().split())
    burnt = [Promise.BATCH_FAILING, Promise.BATCH_INVALID, Promise.REALTIME_FAILING]
    assert f"A burn rate of {FAST} or more is critical" in page
    told = {
        Promise.BATCH_SLOW: 2.0,
        Promise.REALTIME_SLOW: 3,
        Promise.BATCH_NEVER_STARTED: 6,
        Promise.COLLECT_STOPPED: 6,
        Promise.DEADLINE_MISSED: 4,
    }
    assert all(f"{each:g} times for " in page for each in told.values())
    at_once = (
        Promise.BATCH_UNCLEAR,
        Promise.PROVIDER_DOWN,
        Promise.PROVIDER_FROZEN,
        Promise.ROLE_TAKEN,
    )
    told |= {**dict.fromkeys(burnt, FAST), Promise.BUDGET: 100 / 80, **dict.fromkeys(at_once, 0)}
    assert {
        each: terms.critical_at for each, terms in TERMS.items() if isfinite(terms.critical_at)
    } == told


def test_the_monitoring_page_states_the_burn_rates_and_windows_of_the_alerts() -> None:
    def in_words(places: Iterable[int]) -> str:
        return ", ".join(NAMES[place] for place in dict.fromkeys(places))

    said = [
        [
            f"{each.rate:g}",
            f"{100 * threshold(each.rate, Promises().realtime_max_error_percent / 100):g} %",
            in_words(reversed(each.places)),
            in_words(SHORT[place] for place in reversed(each.places)),
            "critical" if each.rate >= FAST else "warning",
        ]
        for each in ALERTS
    ]
    rows = table("concepts/monitoring.md", headed="burn rate")
    assert [[cell.replace("**", "") for cell in row] for row in rows] == said


def test_the_rollouts_page_states_the_least_error_shares_that_wrong_samples_prove() -> None:
    said = " ".join((DOCS / "concepts/rollouts.md").read_text().split())
    alpha = ALPHA / 8
    for wrong in (5, 6):
        low, _ = bounds(SampleShare(wrong, 20), alpha=alpha)
        assert f"least {100 * low:.2f} %)" in said


def test_the_pages_state_how_many_samples_without_an_error_pass_a_gate() -> None:
    rows = table("concepts/rollouts.md", headed="it tolerates")
    for tolerated, alone, of_eight in rows:
        share = float(tolerated.split()[0]) / 100
        for said, gates in ((alone, 1), (of_eight, 8)):
            assert said == f"{clean_samples(share, alpha=ALPHA / gates):,} items"
    tutorial = " ".join((DOCS / "tutorial.md").read_text().split())
    first, second, small = (clean_samples(each, alpha=ALPHA / 2) for each in (0.6, 0.4, 0.05))
    assert f"after {first} without an error it is sure that fewer than 60 % fail" in tutorial
    assert f"after {second} that fewer than 40 % do" in tutorial
    assert f"it takes {small} items without an error" in tutorial


def test_the_errors_on_the_python_page_are_lanes_errors() -> None:
    named = [row[0] for row in table("how-to/send-from-python.md", headed="error")]
    assert all(issubclass(getattr(errors, each), errors.LanesError) for each in named)
