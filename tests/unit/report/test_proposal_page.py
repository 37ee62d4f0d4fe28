"""The page of a proposed rollout: its saving, the confidence in it, its risk, and the reads behind it."""

import base64
import re
from dataclasses import replace
from typing import Any

import pytest

from lanes.advice.proposals import ProposalFigures, ProposedRollout
from lanes.ids import ProposalId, RolloutId
from lanes.report import advice
from lanes.report.proposal import describe_grounds, headline, render, table
from lanes.words import ProposalState
from tests.conftest import NOON
from tests.rollouts import playbook, step

FIGURES = ProposalFigures(
    12.5, 608.0, 100, 1, 5, 0.98, 6_000.0, [(30.0, 1), (3_000.0, 39), (40_000.0, 60)]
)
BOOK = playbook(step(50), step(0), direction="realtime_to_batch")


def proposal(number: int = 3, consumer: str = "nightly", **fields: Any) -> ProposedRollout:
    """Return an open proposal."""
    of: dict[str, Any] = {"state": ProposalState.OPEN, "who": None, "why": None, **fields}
    at: dict[str, Any] = {"proposed_at": NOON, "at": NOON}
    return ProposedRollout(ProposalId(number), "letters", consumer, BOOK, FIGURES, **of, **at)


def drawn(page: str) -> str:
    (encoded,) = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page)
    return base64.b64decode(encoded).decode()


def test_the_page_states_the_saving_the_confidence_and_the_risk_of_a_proposal() -> None:
    page = render("letters", [proposal()], {}, {ProposalId(3): "/v2/form"})
    assert page.startswith("**letters: 1 rollout to batch proposed, $12.50 a month**")
    assert "[Approve, edit or decline](/v2/form)" in page
    assert describe_grounds(proposal()) == [
        f"It saves $12.50 a month: 608 items a month move to batch by playbook {BOOK.name} (50, 0\u00a0%).",
        "100 reads recorded, 1 of them within a minute, and 5 unknown: fewer than 20 % of the answers are read at once, "
        "with at least 98 % confidence.",
        "A batch is likely enough back in 100 min; 38 % to 43 % of the answers are read before that: 232 to 261 items a month, "
        "whose reader waits 51 min longer on average.",
    ]
    chart = drawn(page)
    for said in ("Read before a batch is back (100 min)", "Read later", "No read recorded"):
        assert said in chart


@pytest.mark.parametrize(
    ("confidence", "said"), [(0.7579, "75 %"), (0.9972, "99 %"), (1.0, "99.9 %")]
)
def test_the_confidence_is_never_rounded_up(confidence: float, said: str) -> None:
    of = replace(proposal(), figures=replace(FIGURES, confidence=confidence))
    assert table([of]).cells[0][4] == said


def test_no_reader_would_wait_for_a_batch_if_all_reads_come_later() -> None:
    late = ProposalFigures(1.0, 10.0, 20, 0, 0, 0.75, 60.0, [(9_000.0, 20)])
    assert (late.too_early.low, late.too_early.high, late.waits_s) == (0, 0, None)
    assert "Read later" in advice.delays(late)
    assert "Read before" in advice.delays(late)  # with bars of zero


def test_a_consumer_without_a_proposal_is_listed_with_the_reason() -> None:
    page = render("letters", [], {"nightly": "declined by ada"}, {})
    assert page.startswith("**letters: no rollout is proposed**")
    assert "- nightly: declined by ada" in page


def test_a_consumer_name_is_always_shown_as_plain_text() -> None:
    name = "[a](http://x) | <b> `c` **d**"
    page = render("letters", [proposal(consumer=name)], {name: "no"}, {})
    assert "](http://x)" not in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "open"),
        ({"who": "ada", "why": "x"}, "open, edited by ada"),
        (
            {"state": ProposalState.APPROVED, "who": "ada", "rollout_id": RolloutId(7)},
            "approved by ada: rollout 7",
        ),
        ({"state": ProposalState.DECLINED, "who": "ada", "why": "no"}, "declined by ada: no"),
        ({"state": ProposalState.WITHDRAWN, "why": "late"}, "withdrawn: late"),
    ],
)
def test_the_table_shows_the_state_of_a_proposal(fields: dict[str, Any], said: str) -> None:
    assert table([proposal(**fields)]).cells[0][-1] == said


def test_the_headline_adds_up_the_savings() -> None:
    assert headline("letters", [proposal(), proposal(4)]).endswith("$25.00 a month")
