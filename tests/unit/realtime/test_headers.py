"""What headers of limits are believed: those that can be true, and of the others nothing but a note."""

from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.realtime.headers import told
from lanes.routing.capacity import WINDOW, LimitKind
from tests.conftest import NOON, later


def headers(
    kind: str = "requests", *, limit: object = 50, remaining: object = 20, reset: object = None
) -> dict[str, str]:
    said = {
        "limit": limit,
        "remaining": remaining,
        "reset": later(seconds=36).isoformat() if reset is None else reset,
    }
    return {f"anthropic-ratelimit-{kind}-{part}": str(value) for part, value in said.items()}


def test_a_limit_is_read_with_what_remains_and_when_it_is_whole_again() -> None:
    (limit,) = told(headers(), now=NOON).limits
    assert (limit.kind, limit.limit, limit.remaining, limit.reset_at) == (
        LimitKind.REQUESTS,
        50,
        20,
        later(seconds=36),
    )
    assert [limit.left(later(seconds=s)) for s in (0, 12, 36, 500)] == [20, 30, 50, 50]


def test_the_case_of_their_names_does_not_matter() -> None:
    assert told({name.title(): value for name, value in headers().items()}, now=NOON) == told(
        headers(), now=NOON
    )


def test_tokens_of_both_kinds_together_count_only_where_they_are_not_told_apart() -> None:
    together = headers("tokens", limit=100_000)
    assert [each.kind for each in told(together, now=NOON).limits] == [LimitKind.TOKENS]
    apart = headers("input-tokens") | headers("output-tokens") | together
    assert [each.kind for each in told(apart, now=NOON).limits] == [
        LimitKind.INPUT,
        LimitKind.OUTPUT,
    ]


def test_a_reset_is_measured_from_the_providers_own_clock() -> None:
    ahead = NOON + timedelta(hours=3)
    said = headers(reset=(ahead + timedelta(seconds=30)).isoformat()) | {
        "date": format_datetime(ahead, usegmt=True)
    }
    assert told(said, now=NOON).limits[0].reset_at == later(seconds=30)


@pytest.mark.parametrize(
    "lie",
    [
        {"limit": -5},
        {"limit": 0},
        {"limit": "many"},
        {"limit": "9" * 400},
        {"limit": "٣"},
        {"remaining": -1},
        {"remaining": ""},
        {"remaining": "nan"},
        {"reset": "tomorrow"},
        {"reset": "9" * 400},
    ],
)
def test_what_cannot_be_true_is_left_out_with_one_note_and_its_neighbours_are_believed(
    lie: dict[str, object],
) -> None:
    said = told(headers("requests", **lie) | headers("input-tokens"), now=NOON)
    assert [each.kind for each in said.limits] == [LimitKind.INPUT]
    assert len(said.notes) == 1


@pytest.mark.parametrize(
    "reset", ["1999-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "2026-11-24T12:05:00"]
)
def test_a_reset_in_the_past_or_far_ahead_is_one_within_a_minute_with_a_note(reset: str) -> None:
    said = told(headers(reset=reset), now=NOON)
    assert said.limits[0].reset_at == NOON + WINDOW
    assert len(said.notes) == 1


def test_a_remainder_beyond_its_limit_is_the_limit_with_a_note() -> None:
    said = told(headers(remaining=51), now=NOON)
    assert said.limits[0].remaining == 50
    assert len(said.notes) == 1


def test_headers_that_are_missing_say_nothing() -> None:
    assert told({"content-type": "application/json"}, now=NOON).limits == []
    assert told({}, now=NOON).notes == []


PARTS = [
    f"anthropic-ratelimit-{kind}-{part}"
    for kind in ("requests", "input-tokens", "tokens")
    for part in ("limit", "remaining", "reset")
]


@given(
    st.dictionaries(
        st.sampled_from([*PARTS, "date"]), st.text(max_size=40) | st.integers().map(str)
    )
)
def test_whatever_headers_say_a_limit_that_is_believed_can_be_true(said: dict[str, str]) -> None:
    for each in told(said, now=NOON).limits:
        assert each.limit >= 1
        assert 0 <= each.remaining <= each.limit
        assert each.seen_at == NOON <= each.reset_at <= NOON + WINDOW
