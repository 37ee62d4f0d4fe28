"""One rule for refusals: a call about one item raises, `submit_many` returns an outcome for each input."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine

from lanes import client
from lanes.errors import Refused, UnknownWorkload
from tests.store.tries import rows

LOOP: dict[str, Any] = {}
LOOP["itself"] = LOOP

NO_OBJECT: Any = "x"
REFUSED: list[tuple[Callable[..., Any], str, str]] = [
    (partial(client.submit, "letters", NO_OBJECT), "malformed", "payload"),
    (partial(client.submit, "letters", {}, lane="express"), "malformed", "lane"),
    (
        partial(client.submit, "letters", {"text": "other"}, key="k"),
        "key_conflict",
        "other content",
    ),
    (partial(client.submit, "ghosts", {}), "unknown_workload", "ghosts"),
    (partial(client.amend, "letters", "k", NO_OBJECT), "malformed", "payload"),
    (partial(client.amend, "ghosts", "k", {}), "unknown_workload", "ghosts"),
]


@pytest.mark.parametrize(("verb", "reason", "said"), REFUSED)
def test_a_call_about_one_item_raises_its_refusal_and_the_refusal_is_stored(
    pool: Engine, verb: Callable[[], Any], reason: str, said: str
) -> None:
    client.submit("letters", {"text": "x"}, key="k")
    with pytest.raises(UnknownWorkload if reason == "unknown_workload" else Refused, match=said):
        verb()
    with pool.begin() as connection:
        assert [each.reason for each in rows(connection, "rejected_log")] == [reason]


@pytest.mark.parametrize(("verb", "reason", "said"), REFUSED)
async def test_the_asynchronous_functions_raise_the_same_refusals(
    verb: Any, reason: str, said: str
) -> None:
    await client.asubmit("letters", {"text": "x"}, key="k")
    with pytest.raises(UnknownWorkload if reason == "unknown_workload" else Refused, match=said):
        await getattr(client, f"a{verb.func.__name__}")(*verb.args, **verb.keywords)


def test_a_label_that_is_not_an_object_is_refused() -> None:
    client.submit("letters", {"text": "x"}, key="k")
    with pytest.raises(Refused, match="JSON object"):
        client.label("letters", "k", "bill")  # pyright: ignore[reportArgumentType]


def test_each_malformed_input_of_one_key_is_stored(pool: Engine) -> None:
    client.submit_many("letters", [{"key": "k", "payload": 1}, {"key": "k", "payload": 2}])
    with pool.begin() as connection:
        assert [(each.key, each.content) for each in rows(connection, "rejected_log")] == [
            ("k", '{"key": "k", "payload": 1}'),
            ("k", '{"key": "k", "payload": 2}'),
        ]


MIXED: list[Any] = [
    {"key": "good", "payload": {}},
    {"key": "bad", "payload": "text"},
    "no object",
    {"key": "loop", "payload": LOOP},
    {"key": "after", "payload": {}},
]


def test_the_neighbours_of_a_malformed_input_are_admitted(pool: Engine) -> None:
    sent = client.submit_many("letters", MIXED)
    assert [each.outcome for each in sent] == [
        "accepted",
        "malformed",
        "malformed",
        "malformed",
        "accepted",
    ]
    assert [each.key for each in sent if each.key in ("good", "bad", "loop", "after")] == [
        "good",
        "bad",
        "loop",
        "after",
    ]
    with pytest.raises(Refused, match="payload"):
        sent[1].raise_for_refusal()
    with pool.begin() as connection:
        assert [each.key for each in rows(connection, "item")] == ["good", "after"]
        assert [each.key for each in rows(connection, "rejected_log")] == ["bad", None, "loop"]


async def test_an_asynchronous_program_receives_the_same_outcomes() -> None:
    assert [each.refused for each in await client.asubmit_many("letters", MIXED)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_an_unknown_workload_is_returned_per_input_and_raised_by_raise_for_refusal() -> None:
    [sent] = client.submit_many("ghosts", [{"key": "k", "payload": {}}])
    assert (sent.outcome, sent.refused) == ("unknown_workload", True)
    with pytest.raises(UnknownWorkload, match="ghosts"):
        sent.raise_for_refusal()


def test_raise_for_refusal_returns_an_accepted_outcome_and_raises_a_refusal() -> None:
    assert (
        client.submit("letters", {"text": "x"}, key="k").raise_for_refusal().outcome == "accepted"
    )
    [refused] = client.submit_many("letters", [{"key": "k", "payload": {"text": "y"}}])
    with pytest.raises(Refused, match="other content") as raised:
        refused.raise_for_refusal()
    assert raised.value.reason == "key_conflict"
