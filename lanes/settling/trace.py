"""The trace of an item: a span for the item, each decision, each call, each batch and each correction, built from stored facts.

All ids are derived from the facts: every process computes the same ids, and a span that is built again is the same span. A call
or a batch that serves several items has its own trace; it links to the spans of its items, and they link to it. A span contains
ids, counts, models and terms of Lanes, but no payload, answer, key or error text.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

from lanes.ids import BatchId, ItemId
from lanes.units import pluralize
from lanes.words import Lane, Outcome, Purpose

PROVIDER = "anthropic"
MOST_LINKS = 128  # links of a call or a batch, the limit of OpenTelemetry
LASTING = (Purpose.ANSWER, Purpose.AUTHORITATIVE)
# the attributes that a line of the tree shows, if the span has them
TOLD = ("lanes.route.reason", "lanes.purpose", "lanes.outcome")

Value = str | int


class SpanKind(StrEnum):
    """The role of a span, as OpenTelemetry names it."""

    INTERNAL = "internal"
    CLIENT = "client"
    CONSUMER = "consumer"


class SpanRef(NamedTuple):
    """The ids of a span."""

    trace_id: bytes  # 16
    span_id: bytes  # 8


class Span(NamedTuple):
    """An operation with a duration; `told_with` is the attempt whose save completes it, None while it is incomplete."""

    ref: SpanRef
    parent: bytes | None
    name: str
    kind: SpanKind
    began_at: datetime
    ended_at: datetime | None
    says: Mapping[str, Value]
    links: Sequence[SpanRef] = ()
    unlinked: int = 0  # links beyond the most
    failure: str | None = None
    told_with: int | None = None


class TracedItem(NamedTuple):
    """An item; `trace` is the stored sender context of `lanes.trace_context`."""

    id: ItemId
    workload: str
    received_at: datetime
    trace: bytes | None
    answered_at: datetime | None
    failed_at: datetime | None
    canceled_at: datetime | None


class TracedRoute(NamedTuple):
    """A decision about the item's lane."""

    item_id: ItemId
    id: int
    lane: str
    reason: str
    version: int
    decided_at: datetime


class TracedAttempt(NamedTuple):
    """An attempt at the item, with the call or the batch that carried it; `asked` is the requested model."""

    item_id: ItemId
    id: int
    work_id: int
    claim_no: int
    lane: str
    purpose: str
    outcome: str
    asked: str
    model: str
    shown: bool
    started_at: datetime
    ended_at: datetime
    gathered_ms: int | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    message_id: str | None
    response_id: int | None
    billed_at: datetime | None
    sharers: int | None
    batch_id: BatchId | None
    intended_at: datetime | None


class TracedCorrection(NamedTuple):
    """A correction; `work_id` is the work whose answer replaced the shown answer."""

    item_id: ItemId
    id: int
    work_id: int
    corrected_at: datetime


class TracedBatch(NamedTuple):
    """A batch that was collected."""

    id: BatchId
    workload: str
    model: str
    requests: int
    items: int
    intended_at: datetime
    collected_at: datetime


@dataclass(frozen=True)
class ItemFacts:
    """The stored facts of one item, each kind ordered by id."""

    item: TracedItem
    routes: Sequence[TracedRoute]
    attempts: Sequence[TracedAttempt]
    corrections: Sequence[TracedCorrection]


def item_ref(item: TracedItem) -> SpanRef:
    """Return the ids of the item's span; its trace is the sender's trace, or else is derived from the item."""
    own = _root("item", item.id, item.received_at)
    return own if item.trace is None else SpanRef(item.trace[:16], own.span_id)


def trace_id_of(item_id: ItemId, received_at: datetime, trace: bytes | None) -> bytes:
    """Return the id of an item's trace."""
    return item_ref(TracedItem(item_id, "", received_at, trace, None, None, None)).trace_id


def attempt_ref(item: TracedItem, attempt_id: int) -> SpanRef:
    """Return the ids of the span of an attempt."""
    root = item_ref(item)
    return SpanRef(root.trace_id, _child(root, "attempt", attempt_id))


def spans(facts: ItemFacts) -> list[Span]:
    """Return the spans of one item: its own span, then its descendants by start time.

    The item's span ends with its first answer, failure or withdrawal; later spans are still its descendants.
    """
    root = item_ref(facts.item)
    below = [*_routes(facts, root), *_attempts(facts, root), *_corrections(facts, root)]
    return [_item(facts, root), *sorted(below, key=lambda each: each.began_at)]


def _item(facts: ItemFacts, root: SpanRef) -> Span:
    item, last = facts.item, facts.attempts[-1].id if facts.attempts else None
    shown = (each.id for each in facts.attempts if each.shown and each.purpose in LASTING)
    if item.answered_at is not None:
        ended_at, told_with, failure = item.answered_at, next(shown, last), None
    else:
        ended_at, told_with = item.failed_at or item.canceled_at, last
        failure = "failed" if item.failed_at is not None else None
    return Span(
        root,
        None if item.trace is None else item.trace[16:24],
        f"item {item.workload}",
        SpanKind.CONSUMER,
        item.received_at,
        ended_at,
        {"lanes.item.id": item.id, "lanes.workload": item.workload},
        failure=failure,
        told_with=None if ended_at is None else told_with,
    )


def _routes(facts: ItemFacts, root: SpanRef) -> Iterable[Span]:
    """Yield the decisions, each completed by the next attempt: the first starts at the item's arrival, others last no time."""
    tried = sorted((each.started_at, each.id) for each in facts.attempts)
    for place, each in enumerate(facts.routes):
        yield Span(
            SpanRef(root.trace_id, _child(root, "route", each.id)),
            root.span_id,
            f"route {each.lane}",
            SpanKind.INTERNAL,
            facts.item.received_at if place == 0 else each.decided_at,
            each.decided_at,
            {
                "lanes.lane": each.lane,
                "lanes.route.reason": each.reason,
                "lanes.version": each.version,
            },
            told_with=next((id for at, id in tried if place == 0 or at >= each.decided_at), None),
        )


def _attempts(facts: ItemFacts, root: SpanRef) -> Iterable[Span]:
    """Yield a span for each attempt: the call itself, or the item's part of a call or batch that served several items."""
    for attempt in facts.attempts:
        shared = _carrier(attempt)
        attributes: dict[str, Value] = {
            "lanes.workload": facts.item.workload,
            "lanes.lane": attempt.lane,
            "lanes.purpose": attempt.purpose,
            "lanes.outcome": attempt.outcome,
        }
        if attempt.gathered_ms is not None:
            attributes["lanes.gathered_ms"] = attempt.gathered_ms
        if attempt.batch_id is not None:
            attributes["lanes.batch.id"] = attempt.batch_id
        part = shared is not None and attempt.batch_id is None
        if not part:
            attributes |= _call(attempt)
        yield Span(
            SpanRef(root.trace_id, _child(root, "attempt", attempt.id)),
            root.span_id,
            f"part of chat {attempt.asked}" if part else f"chat {attempt.asked}",
            SpanKind.INTERNAL if part else SpanKind.CLIENT,
            attempt.started_at,
            max(attempt.started_at, attempt.ended_at),
            attributes,
            links=() if shared is None else (shared,),
            failure=_failure(attempt),
            told_with=attempt.id,
        )


def _corrections(facts: ItemFacts, root: SpanRef) -> Iterable[Span]:
    """Yield the corrections, each as a child of the attempt that caused it."""
    shown = {each.work_id: each.id for each in facts.attempts if each.shown}
    for each in facts.corrections:
        by = shown.get(each.work_id)
        yield Span(
            SpanRef(root.trace_id, _child(root, "correction", each.id)),
            root.span_id if by is None else _child(root, "attempt", by),
            "correction",
            SpanKind.INTERNAL,
            each.corrected_at,
            each.corrected_at,
            {"lanes.workload": facts.item.workload},
            told_with=by,
        )


def is_part(of: TracedAttempt) -> bool:
    """Return whether the attempt is a part of a real-time call that served several items."""
    return of.batch_id is None and _carrier(of) is not None


def call_span(sharers: Sequence[tuple[TracedItem, TracedAttempt]]) -> Span:
    """Return the span of a call that served several items; `sharers` is in the order of their attempts."""
    of = [attempt for _, attempt in sharers]
    item, first = sharers[0]
    ref = _carrier(first)
    assert ref is not None
    return Span(
        ref,
        None,
        f"chat {first.asked}",
        SpanKind.CLIENT,
        first.started_at,
        max(first.started_at, first.ended_at),
        {
            "lanes.workload": item.workload,
            "lanes.lane": first.lane,
            "lanes.call.items": first.sharers or 1,
            **_call(_sum(of)),
        },
        links=[attempt_ref(item, attempt.id) for item, attempt in sharers[:MOST_LINKS]],
        unlinked=max(0, len(sharers) - MOST_LINKS),
        told_with=first.id,
    )


def batch_span(batch: TracedBatch, members: Sequence[SpanRef]) -> Span:
    """Return the span of a batch, from its intent to its collection; `members` has spans of some of its items."""
    return Span(
        _root("batch", batch.id, batch.intended_at),
        None,
        f"batch {batch.model}",
        SpanKind.CLIENT,
        batch.intended_at,
        batch.collected_at,
        {
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": batch.model,
            "lanes.batch.id": batch.id,
            "lanes.batch.items": batch.items,
            "lanes.batch.requests": batch.requests,
            "lanes.lane": Lane.BATCH.value,
            "lanes.workload": batch.workload,
        },
        links=members[:MOST_LINKS],
        unlinked=max(0, batch.items - MOST_LINKS),
    )


@dataclass(frozen=True)
class SpanLine:
    """A span in the displayed tree: `depth` levels below its root, with times relative to the first span."""

    name: str
    depth: int
    after_s: float
    took_s: float | None
    says: str
    trace_id: str


def tree(of: Sequence[Span]) -> list[SpanLine]:
    """Return the spans as a tree, each below its parent; a span whose parent is not in `of` is a root."""
    known, below = {each.ref for each in of}, defaultdict[SpanRef | None, list[Span]](list)
    for each in of:
        parent = None if each.parent is None else SpanRef(each.ref.trace_id, each.parent)
        below[parent if parent in known else None].append(each)
    began_at = min((each.began_at for each in of), default=None)

    def lines(parent: SpanRef | None, depth: int) -> Iterator[SpanLine]:
        for span in below[parent]:
            took = (
                None if span.ended_at is None else (span.ended_at - span.began_at).total_seconds()
            )
            after = (span.began_at - began_at).total_seconds() if began_at is not None else 0.0
            yield SpanLine(
                span.name, depth, after, took, _describe_span(span), span.ref.trace_id.hex()
            )
            yield from lines(span.ref, depth + 1)

    return list(lines(None, 0))


def _describe_span(span: Span) -> str:
    """Return the details that distinguish a span from its neighbors, and its number of linked spans."""
    parts = [str(span.says[name]) for name in TOLD if name in span.says]
    if (tokens := span.says.get("gen_ai.usage.input_tokens")) is not None:
        parts.append(f"{tokens} tokens in, {span.says['gen_ai.usage.output_tokens']} out")
    if (batch := span.says.get("lanes.batch.id")) is not None:
        parts.append(f"batch {batch}")
    if linked := len(span.links) + span.unlinked:
        parts.append(f"linked with {pluralize(linked, 'span')}")
    return ", ".join(parts)


def _carrier(attempt: TracedAttempt) -> SpanRef | None:
    """Return the span of the batch or shared call that carried an attempt; None if the attempt had its own call."""
    if attempt.batch_id is not None and attempt.intended_at is not None:
        return _root("batch", attempt.batch_id, attempt.intended_at)
    if (
        attempt.response_id is not None
        and attempt.billed_at is not None
        and (attempt.sharers or 1) > 1
    ):
        return _root("call", attempt.response_id, attempt.billed_at)
    return None


def _call(attempt: TracedAttempt) -> dict[str, Value]:
    """Return the attributes of a call by the OpenTelemetry conventions for generative AI."""
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": attempt.asked,
    }
    if attempt.message_id is not None:
        read, wrote = attempt.cache_read_tokens, attempt.cache_write_tokens
        attributes["gen_ai.response.id"] = attempt.message_id
        attributes["gen_ai.response.model"] = attempt.model
        # by convention, the input tokens include the cache tokens
        attributes["gen_ai.usage.input_tokens"] = attempt.input_tokens + read + wrote
        attributes["gen_ai.usage.output_tokens"] = attempt.output_tokens
        if read:
            attributes["gen_ai.usage.cache_read.input_tokens"] = read
        if wrote:
            attributes["gen_ai.usage.cache_write.input_tokens"] = wrote
    return attributes


def _sum(parts: Sequence[TracedAttempt]) -> TracedAttempt:
    """Return the call that these attempts were part of: the first attempt, with the tokens of all."""
    return parts[0]._replace(
        input_tokens=sum(each.input_tokens for each in parts),
        output_tokens=sum(each.output_tokens for each in parts),
        cache_read_tokens=sum(each.cache_read_tokens for each in parts),
        cache_write_tokens=sum(each.cache_write_tokens for each in parts),
    )


def _failure(of: TracedAttempt) -> str | None:
    return None if of.outcome == Outcome.VALID else of.outcome


def _root(kind: str, number: int, at: datetime) -> SpanRef:
    """Return ids derived from a row's number and time; the time distinguishes rows of two databases."""
    made = blake2b(f"{kind} {number} {at.timestamp()}".encode(), digest_size=24).digest()
    return SpanRef(made[:16], made[16:])


def _child(root: SpanRef, kind: str, number: int) -> bytes:
    return blake2b(b"%b%b %d" % (root.span_id, kind.encode(), number), digest_size=8).digest()
