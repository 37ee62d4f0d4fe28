"""The route of an item: the order of the rules, and the decisions that no split or rule may change."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.routing.lane_rules import EXPECTED_CALL, binds, rank_at
from lanes.routing.route import ArrivedItem, Route, decide, looks_inside
from lanes.routing.split import BUCKETS, Split, Splits
from lanes.routing.turnaround import NOTHING, Turnaround
from lanes.words import Lane, Reason
from lanes.workload.version import Version
from lanes.workload.window import LEAD
from tests.conftest import NOON, later
from tests.examples import version
from tests.unit.strategies import arrived

URGENT_RULE = 'has(payload.channel) && payload.channel == "chat"'
RULED = version(urgent_when=URGENT_RULE, batch_when="age_s > 86400.0", batch_expected_minutes=60)
PLAIN = version(batch_expected_minutes=60)
RULES = ("urgent_when", "batch_when")
ALL_BATCH, ALL_REALTIME = (
    Splits([Split("letters", None, 0)]),
    Splits([Split("letters", None, BUCKETS)]),
)
BACK_AGAIN = Turnaround(NOTHING, usual=timedelta(hours=1)).within(0.95)
lanes_or_none = st.none() | st.sampled_from(Lane)


def item(**fields: Any) -> ArrivedItem:
    return ArrivedItem(
        workload="letters",
        key="k1",
        payload=fields.pop("payload", {"text": "hello"}),
        received_at=NOON,
        occurred_at=fields.pop("occurred_at", NOON),
        **fields,
    )


def must_be_realtime(each: ArrivedItem, of: Version) -> bool:
    """Return whether the rules require real time, computed independently of `decide`."""
    due_soon = each.due_at is not None and each.due_at < NOON + LEAD + BACK_AGAIN
    chat = bool(of.spec.urgent_when) and each.payload.get("channel") == "chat"
    return each.urgent or due_soon or chat


@given(arrived(), st.sampled_from([RULED, PLAIN]), st.integers(0, BUCKETS))
def test_an_item_that_must_be_realtime_is_never_sent_to_batch(
    each: ArrivedItem, of: Version, points: int
) -> None:
    route = decide(each, of, Splits([Split("letters", None, points)]), now=NOON)
    if must_be_realtime(each, of):
        assert route.lane is Lane.REALTIME
        assert route.reason in (Reason.OVERDUE, Reason.URGENT, Reason.URGENT_RULE, Reason.DEADLINE)
    else:
        assert route.reason in (Reason.BATCH_RULE, Reason.SPLIT)


@given(arrived(), st.sampled_from(["chat", "mail"]))
def test_an_item_whose_urgent_rule_holds_is_never_sent_to_batch(
    each: ArrivedItem, channel: str
) -> None:
    old = each._replace(
        payload={"channel": channel}, occurred_at=later(days=-2), due_at=None, urgent=False
    )
    route = decide(old, RULED, ALL_BATCH, now=NOON)
    assert (route.lane, route.reason) == (
        (Lane.REALTIME, Reason.URGENT_RULE)
        if channel == "chat"
        else (Lane.BATCH, Reason.BATCH_RULE)
    )


@given(arrived(), st.integers(0, BUCKETS), st.integers(0, BUCKETS))
def test_raising_the_split_moves_items_only_to_realtime_and_lowering_it_only_to_batch(
    each: ArrivedItem, one: int, other: int
) -> None:
    low, high = (
        decide(each, RULED, Splits([Split("letters", None, points)]), now=NOON)
        for points in sorted((one, other))
    )
    assert (low.lane, high.lane) != (Lane.REALTIME, Lane.BATCH)
    if low.reason is not Reason.SPLIT:
        assert low == high


@given(arrived(pin=lanes_or_none), st.sampled_from([RULED, PLAIN]), st.integers(0, BUCKETS))
def test_every_route_has_a_reason_an_explanation_and_both_costs(
    each: ArrivedItem, of: Version, points: int
) -> None:
    route = decide(each, of, Splits([Split("letters", each.consumer, points)]), now=NOON)
    assert isinstance(route.reason, Reason)
    assert route.explanation
    assert route.realtime_usd > route.batch_usd > 0
    assert route == decide(each, of, Splits([Split("letters", each.consumer, points)]), now=NOON)


@given(arrived(pin=st.sampled_from(Lane)))
def test_a_pin_wins_over_everything_else(each: ArrivedItem) -> None:
    route = decide(each, RULED, ALL_REALTIME, now=NOON)
    assert (route.lane, route.reason) == (each.pin, Reason.PINNED)


@pytest.mark.parametrize(
    ("fields", "lane", "reason", "said"),
    [
        ({"pin": Lane.BATCH, "urgent": True}, "batch", "pinned", "the sender asked for batch"),
        (
            {"due_at": later(seconds=-1), "urgent": True},
            "realtime",
            "overdue",
            "it was due at 2026-11-24T11:59:59",
        ),
        ({"due_at": NOON}, "realtime", "overdue", "it was due at 2026-11-24T12:00:00"),
        (
            {"urgent": True, "payload": {"channel": "chat"}},
            "realtime",
            "urgent",
            "the sender marked it urgent",
        ),
        (
            {"payload": {"channel": "chat"}, "due_at": later(minutes=1)},
            "realtime",
            "urgent_rule",
            "urgent_when holds",
        ),
        (
            {"due_at": later(minutes=341), "occurred_at": later(days=-9)},
            "realtime",
            "deadline",
            "94.9 % chance that",
        ),
        (
            {"due_at": later(minutes=342), "occurred_at": later(days=-9)},
            "batch",
            "batch_rule",
            "95 % chance that",
        ),
        ({"occurred_at": later(days=-1)}, "batch", "split", "bucket 8,771 of 10,000 is outside"),
    ],
)
def test_the_rules_apply_in_their_order(
    fields: dict[str, Any], lane: str, reason: str, said: str
) -> None:
    route = decide(item(**fields), RULED, ALL_BATCH, now=NOON)
    assert (route.lane, route.reason) == (lane, reason)
    assert said in route.explanation


def test_a_consumers_split_decides_that_consumers_items() -> None:
    splits = Splits([Split("letters", None, 0), Split("letters", "desk", 8_772)])
    route = decide(item(consumer="desk"), PLAIN, splits, now=NOON)
    assert route.lane is Lane.REALTIME
    assert (
        route.explanation
        == "the split of consumer desk sends 87.72 % to real time, and bucket 8,771 of 10,000 is inside"
    )


@pytest.mark.parametrize(
    "text", ["payload.vip", "payload.n / 0 == 1", "payload.tags[9]", "due_in_s < 1.0"]
)
def test_a_rule_that_cannot_be_evaluated_does_not_match_and_the_explanation_quotes_it(
    text: str,
) -> None:
    each = item(payload={"n": 1, "tags": []})
    either: list[dict[str, Any]] = [{name: text} for name in RULES]
    for rules in (*either, {**either[0], **either[1]}):
        route = decide(each, version(**rules), ALL_REALTIME, now=NOON)
        assert (route.lane, route.reason) == (Lane.REALTIME, Reason.SPLIT)
        assert f"; `{text}`" in route.explanation
        assert route.raised is not None
        assert route.raised.keys() == rules.keys()
        assert all(f"`{text}`" in error for error in route.raised.values())
    assert (
        decide(each._replace(urgent=True), version(urgent_when=text), ALL_REALTIME, now=NOON).raised
        is None
    )


def test_the_costs_grow_with_the_payload_and_shrink_with_packing() -> None:
    def costs(size: int, **fields: Any) -> Route:
        return decide(item(payload={"text": "x" * size}), version(**fields), ALL_BATCH, now=NOON)

    assert costs(4000).realtime_usd > costs(40).realtime_usd
    assert costs(40, batch_pack=20).batch_usd < costs(40).batch_usd
    assert costs(40).batch_usd == pytest.approx(costs(40).realtime_usd / 2, abs=Decimal("2e-9"))


def test_an_item_is_ranked_by_its_due_time_else_by_its_workloads_patience() -> None:
    assert rank_at(item(due_at=later(minutes=5)), PLAIN) == later(minutes=5) - EXPECTED_CALL
    assert rank_at(item(), version(patience_s=90)) == later(seconds=90)


def test_an_urgent_item_ranks_at_its_arrival_time_before_items_that_arrived_with_it() -> None:
    of = version(patience_s=90)
    assert (
        rank_at(item(urgent=True), of)
        == rank_at(item(urgent=True, due_at=later(hours=1)), of)
        == NOON
    )
    assert (
        rank_at(item(urgent=True, due_at=later(seconds=-9)), of)
        == later(seconds=-9) - EXPECTED_CALL
    )
    assert (
        rank_at(item(urgent=True), of)
        < rank_at(item(due_at=later(seconds=10)), of)
        < rank_at(item(), of)
    )


def test_an_item_due_at_the_beginning_of_the_calendar_is_routed_as_overdue() -> None:
    ancient = item(due_at=datetime.min.replace(tzinfo=UTC))
    assert decide(ancient, PLAIN, ALL_BATCH, now=NOON).reason is Reason.OVERDUE
    assert rank_at(ancient, PLAIN) < NOON


def test_only_routes_by_value_split_budget_load_or_fallback_are_unbound() -> None:
    free = {
        Reason.VALUE,
        Reason.SPLIT,
        Reason.BUDGET,
        Reason.CAPACITY,
        Reason.FALLBACK,
        Reason.SHED,
    }
    for reason in Reason:
        for lane in Lane:
            assert binds(reason, lane) == (None if reason in free else lane)


@pytest.mark.slow
@given(arrived(), arrived())
def test_an_item_older_than_its_patience_never_ranks_behind_a_new_item(
    one: ArrivedItem, other: ArrivedItem
) -> None:
    waited = one._replace(due_at=None, received_at=later(seconds=-PLAIN.spec.patience_s))
    assert rank_at(waited, PLAIN) <= rank_at(other._replace(due_at=None), PLAIN)


@pytest.mark.parametrize(
    ("urgent_when", "batch_when", "inside"),
    [
        ("", "", False),
        ("", "age_s > 5.0", False),
        ('consumer == "payload"', "", False),
        ("payload.size > 5", "", True),
        ("age_s > 5.0", "has(payload.n)", True),
        ("", '"n" in payload', True),
        ("", "[1, 2].exists(x, x == payload.n)", True),
        ("", 'age_s > 5.0 && ["a"].exists(k, k in payload)', True),
    ],
)
def test_a_payload_is_needed_only_if_a_rule_reads_it(
    urgent_when: str, batch_when: str, inside: bool
) -> None:
    assert looks_inside(version(urgent_when=urgent_when, batch_when=batch_when)) is inside
