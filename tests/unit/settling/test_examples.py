"""The five sample answers: how they are chosen, and how any content is shown as plain text."""

import io
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from lanes.report.page import answer, describe_outcome, render, select_text
from lanes.settling.listing import AnswerExample, choose
from lanes.words import Lane, Standing

PLAIN = AnswerExample(
    "tickets",
    "T-1",
    {"text": "Where is my parcel?", "channel": "chat"},
    {"urgency": "low", "category": "delivery"},
    ("category", "urgency"),
    Standing.AUTHORITATIVE,
    Lane.BATCH,
    41.0,
    Lane.BATCH,
    41.0,
    {},
    Decimal("0.00021"),
)
REALTIME = replace(PLAIN, key="T-2", first_lane=Lane.REALTIME, first_s=1.9)
CORRECTED = replace(REALTIME, key="T-3", was={"urgency": "high"})
HOSTILE = (
    "[bold red]no[/] \x1b[31m\x07\x00 \u202e [link=http://evil.example]x[/link] " + "long " * 5_000
)


def shown(*examples: AnswerExample, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(render(examples))
    return console.file.getvalue()  # type: ignore[attr-defined]


def keys(*examples: AnswerExample) -> list[str]:
    return [each.key for each in choose(examples)]


def test_the_five_examples_include_both_lanes_and_a_correction() -> None:
    many = [replace(REALTIME, key=f"R-{n}") for n in range(20)]
    assert keys(*many, PLAIN, CORRECTED) == ["T-3", "R-0", "R-1", "R-2", "T-1"]


def test_every_workload_gets_one_example_before_any_gets_a_second() -> None:
    archive = [replace(PLAIN, workload="archive", key=f"A-{n}") for n in range(9)]
    assert keys(PLAIN, REALTIME, CORRECTED, *archive) == ["A-0", "A-1", "T-3", "T-2", "T-1"]


def test_fewer_than_five_answers_are_all_shown() -> None:
    assert keys(PLAIN) == ["T-1"]
    assert shown(PLAIN).startswith("Sample answers")
    assert choose([]) == []


def test_an_example_shows_its_key_input_answer_duration_and_cost() -> None:
    text = shown(CORRECTED)
    for part in (
        "tickets T-3",
        "Where is my parcel?",
        "category: delivery, urgency: low",
        "after 1.9 s",
        "$0.000210",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("example", "sentence"),
    [
        (PLAIN, "batch after 41 s, authoritative, $0.000210"),
        (
            CORRECTED,
            "real-time after 1.9 s, corrected by batch after 41 s (urgency was high), $0.000210",
        ),
        (REALTIME, "real-time after 1.9 s, confirmed by batch after 41 s, $0.000210"),
        (
            replace(REALTIME, lane=Lane.REALTIME, standing=Standing.PROVISIONAL),
            "real-time after 1.9 s, provisional until its batch ends, $0.000210",
        ),
    ],
)
def test_the_outcome_of_an_answer_is_described_in_one_sentence(
    example: AnswerExample, sentence: str
) -> None:
    assert describe_outcome(example) == sentence


def test_an_input_is_shown_as_its_longest_text_or_else_as_json() -> None:
    assert select_text({"a": "short", "text": "the longer one", "n": 3}) == "the longer one"
    assert select_text({"n": 3, "of": [1]}) == '{"n": 3, "of": [1]}'
    of = replace(PLAIN, output={"b": [1], "a": "x"}, fields=("a",))
    assert answer(of) == "a: x, b: [1]"


def test_hostile_text_is_shown_as_plain_text_in_a_limited_number_of_lines() -> None:
    hostile = replace(
        CORRECTED,
        workload=HOSTILE,
        key=HOSTILE,
        payload={"text": HOSTILE},
        output={HOSTILE: HOSTILE},
    )
    text = shown(replace(hostile, was={HOSTILE: HOSTILE}))
    assert "[bold red]no[/]" in text
    assert not any(ord(char) < 32 and char != "\n" for char in text)
    assert "\u202e" not in text
    assert len(text.splitlines()) <= 12


@pytest.mark.slow
@given(
    st.dictionaries(
        st.text(max_size=30),
        st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5),
    )
)
def test_no_payload_or_answer_exceeds_the_width_of_the_lines(anything: dict) -> None:
    text = shown(
        replace(CORRECTED, payload=anything, output=anything, was=anything, key=str(anything)),
        width=60,
    )
    assert all(cell_len(line) <= 60 for line in text.splitlines())
    assert "how" in text
