"""The trace of an item, built from its rows in the database."""

import json

import pytest
from sqlalchemy import Connection, Engine

from lanes.commands import items as commands
from lanes.ids import WorkId
from lanes.settling.trace import Span, SpanKind, SpanRef
from lanes.store.settling import traces
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, claimed_item, home, row, said, save, submit, tried

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
SENDER = bytes.fromhex("00f067aa0ba902b7")


def corrected(connection: Connection, traceparent: str | None = PARENT) -> None:
    """Answer item "k" within seconds, and correct it by a batch that also answers "other"."""
    letters = publish(connection, now=NOON, mode="lambda")
    admit(connection, "k", now=NOON, lane=Lane.REALTIME, traceparent=traceparent)
    admit(connection, "other", now=NOON, lane=Lane.REALTIME)
    route(connection, now=later(seconds=1))
    for each in claim(connection, now=later(seconds=2)):
        save(connection, tried(each, output=A, at=later(seconds=3)), now=later(seconds=4))
    batch_id, works = submit(connection, letters, now=later(minutes=1))
    back = later(minutes=9)
    save(connection, *(tried(it, output=B, at=back) for it in works), batch_id=batch_id, now=back)
    home(connection, batch_id, now=later(minutes=10))


def whole(connection: Connection, key: str = "k") -> list[Span]:
    return traces.whole(connection, row(connection, "item", key=key).id)


def test_the_trace_of_a_corrected_item_has_its_senders_id_and_a_span_for_each_step(
    connection: Connection,
) -> None:
    corrected(connection)
    item, route_, early, passed, correction, batch = whole(connection)
    assert [each.name for each in (item, route_, correction, batch)] == [
        "item letters",
        "route realtime",
        "correction",
        "batch claude-haiku-5-5",
    ]
    own = (item, route_, early, passed, correction)
    assert {each.ref.trace_id for each in own} == {TRACE}
    assert (item.parent, item.kind) == (SENDER, SpanKind.CONSUMER)
    below = {item.ref.span_id}
    assert {each.parent for each in (route_, early, passed)} == below
    assert correction.parent == passed.ref.span_id
    assert (item.began_at, item.ended_at) == (NOON, later(seconds=4))
    assert (route_.began_at, route_.ended_at) == (NOON, later(seconds=1))
    assert (early.began_at, early.ended_at) == (later(seconds=2), later(seconds=3))
    assert (batch.began_at, batch.ended_at) == (later(minutes=1), later(minutes=10))
    assert batch.ref.trace_id != TRACE
    assert (early.links, list(passed.links)) == ((), [batch.ref])
    other = next(each for each in whole(connection, "other") if each.says.get("lanes.batch.id"))
    assert list(batch.links) == [passed.ref, other.ref]
    assert len({each.ref for each in (*own, batch)}) == 6


def test_a_call_span_has_the_attributes_of_the_conventions_for_generative_ai(
    connection: Connection,
) -> None:
    corrected(connection)
    early = whole(connection)[2]
    assert (early.name, early.kind) == ("chat claude-haiku-5-5", SpanKind.CLIENT)
    assert dict(early.says) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-haiku-5-5",
        "gen_ai.response.id": row(connection, "attempt_log", key="k", lane="realtime").message_id,
        "gen_ai.response.model": "claude-haiku-5-5",
        "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.output_tokens": 20,
        "lanes.workload": "letters",
        "lanes.lane": "realtime",
        "lanes.purpose": "answer",
        "lanes.outcome": "valid",
    }


def test_an_item_without_a_sender_has_a_deterministic_trace(
    connection: Connection,
) -> None:
    corrected(connection, traceparent=None)
    first, again = whole(connection), whole(connection)
    assert [each.ref for each in first] == [each.ref for each in again]
    assert first[0].parent is None
    assert first[0].ref.trace_id != whole(connection, "other")[0].ref.trace_id


def test_each_span_of_an_item_is_reported_with_one_attempt(connection: Connection) -> None:
    corrected(connection)
    item, route_, early, passed, correction, batch = whole(connection)
    assert item.told_with == route_.told_with == early.told_with
    assert early.told_with is not None
    assert correction.told_with == passed.told_with
    assert passed.told_with not in (early.told_with, None)
    assert batch.told_with is None


def test_a_packed_call_has_its_own_span_linked_with_the_spans_of_its_items(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "k", "l", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    shared = said(tokens=999)
    save(
        connection,
        *(tried(each, response=shared, at=later(seconds=2)) for each in claim(connection)),
    )
    (item, _, part, call), others = whole(connection), whole(connection, "l")
    assert (part.name, call.name) == ("part of chat claude-haiku-5-5", "chat claude-haiku-5-5")
    assert (part.kind, call.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT)
    assert not [name for name in part.says if name.startswith("gen_ai.")]
    assert (call.says["gen_ai.usage.input_tokens"], call.says["lanes.call.items"]) == (999, 2)
    assert call.ref.trace_id not in (item.ref.trace_id, others[0].ref.trace_id)
    assert list(part.links) == [call.ref]
    assert list(call.links) == [part.ref, others[2].ref]
    assert others[3] == call


def test_a_failed_span_contains_the_outcome_but_not_the_text_of_the_error(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_failures=1)
    work = claimed_item(connection)
    error, ended = "the provider answered 400: Winterbourne", later(seconds=2)
    save(connection, tried(work, Outcome.POISON, error=error, at=ended), now=ended)
    item, _, call = whole(connection)
    assert (item.failure, item.ended_at, call.failure) == ("failed", ended, "poison")
    assert "Winterbourne" not in repr((item, call))


def test_an_item_without_attempts_has_an_open_span(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "k", now=NOON)
    [item] = whole(connection)
    assert (item.ended_at, item.told_with) == (None, None)


def test_explain_prints_the_trace_as_a_tree(
    pool: Engine, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pool.begin() as connection:
        corrected(connection)
        spans = whole(connection)
    assert commands.explain("letters", "k", trace=True) == 0
    printed = capsys.readouterr().out
    assert f"letters / k: trace {TRACE.hex()}" in printed
    for line in (
        "item letters 0 s 4.0 s",
        "└─ route realtime 0 s 1.0 s pinned",
        "└─ chat claude-haiku-5-5 2.0 s 1.0 s answer, valid, 1000 tokens in, 20 out",
        "└─── correction 9.0 min 0 s",
    ):
        assert line in [" ".join(each.split()) for each in printed.splitlines()]
    assert f"Linked: trace {spans[-1].ref.trace_id.hex()}" in printed
    assert commands.explain("letters", "k", trace=True, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)["spans"]
    assert [each["spanId"] for each in told] == [each.ref.span_id.hex() for each in spans]
    assert told[0]["parentSpanId"] == SENDER.hex()
    [linked] = told[3]["links"]
    assert (
        SpanRef(bytes.fromhex(linked["traceId"]), bytes.fromhex(linked["spanId"])) == spans[-1].ref
    )


def test_the_log_ids_of_work_are_its_item_and_its_trace(connection: Connection) -> None:
    publish(connection, now=NOON)
    work = claimed_item(connection, traceparent=PARENT)
    told = traces.read_log_ids(connection, work.claim.work_id)
    assert told == {"item": row(connection, "item").id, "trace": TRACE.hex()}
    assert traces.read_log_ids(connection, WorkId(-1)) == {}
