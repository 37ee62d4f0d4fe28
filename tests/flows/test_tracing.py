"""Traces for a collector: what it receives about answered items, what it never receives, and what its outage costs."""

from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sqlalchemy import Engine

from anthropic_standin.testing import Endpoint
from lanes.ids import ItemId
from lanes.packing import Claim
from lanes.store.database import engine
from lanes.store.settling import traces
from lanes.words import Lane
from tasks import tracing as module
from tasks.connections import Connections
from tasks.saving import save
from tasks.tracing import MOST_NOTED, Tracer, is_asked_for, tracing
from tests.examples import admit, publish, route
from tests.flows.batches import collect_all, submit
from tests.flows.conftest import RunLog, Sender
from tests.flows.realtime import claim
from tests.otlp_receiver import OtlpReceiver, otlp_receiver, says
from tests.store.tries import tried
from tests.waiting import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
UNSAMPLED = f"{PARENT[:-2]}00"
SECRET = "Winterbourne"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    """Yield a collector that the environment names."""
    with otlp_receiver() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


async def answer_and_correct(sender: Sender, pool: Engine, endpoint: Endpoint) -> str:
    """Answer twelve items of a sender's trace early and by a batch; return the key of one that the batch corrected."""
    at, now = sender.at, await sender.at.db.now()
    with pool.begin() as connection:
        publish(connection, now=now, mode="lambda")
        for number in range(12):
            admit(
                connection,
                f"{SECRET}-{number}",
                now=now,
                lane=Lane.REALTIME,
                payload={"text": f"{SECRET} {number}"},
                consumer=SECRET,
                entity=SECRET,
                traceparent=PARENT,
            )
        route(connection, now=now)
    async with tracing(at.db.url):
        sender.time.passes(minutes=1)
        early, ended = await claim(at), await at.db.now()
        await save(at.db, [tried(each, output={"category": "a"}, at=ended) for each in early])
        sender.time.passes(minutes=5)
        await submit(at)
        await collect_all(at, endpoint)
    ((key,), *_) = await sender.rows("select key from lanes.correction_log order by key")
    return str(key)


async def test_a_collector_receives_the_trace_of_an_item_answered_early_and_corrected_by_a_batch(
    at: Connections, endpoint: Endpoint, sender: Sender, pool: Engine, collector: OtlpReceiver
) -> None:
    key = await answer_and_correct(sender, pool, endpoint)
    ((item_id,),) = await sender.rows("select id from lanes.item where key = :key", key=key)
    assert len(collector.spans) == len({each.span_id for each in collector.spans})
    [item] = [each for each in collector.named("item") if says(each)["lanes.item.id"] == item_id]
    below = [each for each in collector.spans if each.parent_span_id == item.span_id]
    [route_] = [each for each in below if each.name.startswith("route")]
    early, passed = sorted(
        (each for each in below if each.name.startswith("chat")),
        key=lambda each: each.start_time_unix_nano,
    )
    [correction] = [
        each for each in collector.named("correction") if each.parent_span_id == passed.span_id
    ]
    [batch] = collector.named("batch")
    own = (item, route_, early, passed, correction)
    assert {each.trace_id.hex() for each in own} == {TRACE}
    assert item.parent_span_id.hex() == PARENT[36:52]
    assert (item.kind, early.kind) == (Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_CLIENT)
    assert [each.span_id for each in passed.links] == [batch.span_id]
    assert passed.span_id in [each.span_id for each in batch.links]
    assert len(batch.links) == 12
    assert batch.trace_id.hex() != TRACE
    assert (says(early)["lanes.lane"], says(passed)["lanes.lane"]) == ("realtime", "batch")
    assert says(early)["gen_ai.usage.input_tokens"] > 0
    assert item.start_time_unix_nano <= early.start_time_unix_nano < early.end_time_unix_nano
    assert {each["service.name"] for each in collector.resources} == {"lanes"}
    with pool.begin() as connection:  # people are shown the same trace
        shown = traces.whole(connection, ItemId(int(str(item_id))))
    assert {each.ref.span_id for each in shown} == {each.span_id for each in (*own, batch)}


async def test_spans_contain_no_payloads_keys_consumers_or_answers(
    at: Connections, endpoint: Endpoint, sender: Sender, pool: Engine, collector: OtlpReceiver
) -> None:
    await answer_and_correct(sender, pool, endpoint)
    assert len(collector.spans) > 12 * 4
    said = repr(collector.spans)
    assert SECRET not in said
    known = {name for each in collector.spans for name in says(each)}
    assert known <= {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.id",
        "gen_ai.response.model",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
        "lanes.batch.id",
        "lanes.batch.items",
        "lanes.batch.requests",
        "lanes.gathered_ms",
        "lanes.item.id",
        "lanes.lane",
        "lanes.outcome",
        "lanes.purpose",
        "lanes.route.reason",
        "lanes.version",
        "lanes.workload",
    }


async def test_the_senders_flag_and_the_sampler_decide_which_traces_are_sent(
    at: Connections,
    sender: Sender,
    pool: Engine,
    collector: OtlpReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    now = await at.db.now()
    with pool.begin() as connection:
        publish(connection, now=now)
        admit(connection, "recorded", now=now, lane=Lane.REALTIME, traceparent=PARENT)
        admit(connection, "not", now=now, lane=Lane.REALTIME, traceparent=UNSAMPLED)
        admit(connection, *map(str, range(40)), now=now, lane=Lane.REALTIME)
        route(connection, now=now)
    async with tracing(at.db.url):
        await save(at.db, [tried(each, at=now) for each in await claim(at)])
    sent = collector.named("item")
    of_senders = [each for each in sent if each.parent_span_id]
    assert len(of_senders) == 1
    assert 5 < len(sent) - 1 < 35
    assert len(collector.spans) == 3 * len(sent)


async def test_a_repeated_save_sends_no_span_again(
    at: Connections, sender: Sender, collector: OtlpReceiver
) -> None:
    await sender.items("k", lane=Lane.REALTIME)
    async with tracing(at.db.url):
        made = [tried(each, at=await at.db.now()) for each in await claim(at)]
        await save(at.db, made)
        await save(at.db, made)
    assert len(collector.spans) == 3


async def test_an_outage_of_the_collector_costs_only_spans_and_one_log_line(
    at: Connections, sender: Sender, collector: OtlpReceiver
) -> None:
    collector.status = 400
    said: list[str] = []
    sink = module._open_telemetry()
    tracer = Tracer(engine(at.db.url, most=2), lambda: sink, RunLog(said))  # pyright: ignore[reportArgumentType]
    try:
        await sender.items("k", "l", "m", lane=Lane.REALTIME)
        claimed = await claim(at)
        for refused, each in enumerate(claimed, 1):
            await save(at.db, [tried(each, at=await at.db.now())])
            tracer.note([each.claim])
            tracer._full.set()
            until(
                lambda refused=refused: collector.refused == refused, within_s=10, what="a refusal"
            )
        assert set((await sender.states()).values()) == {"settled"}
        collector.status = 200
        tracer.note([claimed[0].claim])
    finally:
        tracer.close()
    assert len(collector.spans) == 3
    [line] = said
    assert line.startswith(f"spans are lost until traces can be sent again: {collector.url}")


def test_the_queue_for_a_collector_is_bounded() -> None:
    pool = engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing", most=2)

    def missing() -> module.SpanSink:
        raise ImportError("No module named 'opentelemetry.sdk'")

    said: list[str] = []
    tracer = Tracer(pool, missing, RunLog(said))  # pyright: ignore[reportArgumentType]
    tracer.note([Claim(number, 1) for number in range(MOST_NOTED + 5)])  # pyright: ignore[reportArgumentType]
    tracer.close()
    assert len(tracer._claims) == MOST_NOTED
    assert said == [
        "no traces: No module named 'opentelemetry.sdk'; they need the extra \"lanes[otel]\""
    ]


@pytest.mark.parametrize(
    ("environment", "is_on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "otlp,console"}, True),
    ],
)
def test_traces_are_off_unless_the_variables_of_opentelemetry_turn_them_on(
    environment: dict[str, str], is_on: bool
) -> None:
    assert is_asked_for(environment) is is_on
