"""Hypothesis strategies: any JSON, including hostile text, and items that a door has admitted."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from lanes.routing.route import ArrivedItem
from lanes.words import Lane
from tests.conftest import NOON

ANY_TEXT = st.text(st.characters(), max_size=20)  # NUL and unpaired surrogates included
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20
)


def any_json(text: st.SearchStrategy[str] = ANY_TEXT) -> st.SearchStrategy[Any]:
    """Return a strategy for all values of `json.loads`, including numbers that are not finite."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(10**300, 10**400)
        | st.floats()
        | text
    )
    return st.recursive(
        leaves, lambda each: st.lists(each, max_size=3) | st.dictionaries(text, each, max_size=3)
    )


def some_json() -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for payloads that every door admits."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats(-1e307, 1e307) | TEXT
    values = st.recursive(
        leaves, lambda each: st.lists(each, max_size=3) | st.dictionaries(TEXT, each, max_size=3)
    )
    return st.dictionaries(st.sampled_from(["text", "channel", "n"]) | TEXT, values, max_size=4)


spans = st.timedeltas(timedelta(days=-400), timedelta(days=400))


def arrived(pin: st.SearchStrategy[Lane | None] = st.none()) -> st.SearchStrategy[ArrivedItem]:  # noqa: B008
    """Return a strategy for items received at noon with any fields that a sender may set."""
    return st.builds(
        ArrivedItem,
        workload=st.just("letters"),
        key=TEXT,
        payload=some_json(),
        received_at=st.just(NOON),
        occurred_at=spans.map(lambda span: NOON + span),
        consumer=st.none() | st.sampled_from(["desk", "night"]),
        entity=st.none() | TEXT,
        urgent=st.booleans(),
        pin=pin,
        due_at=st.none() | spans.map(lambda span: NOON + span),
        length=st.none(),
        earlier=st.just(()),
    )
