"""Scenes that break every promise on a whole stand, each with its own workload; one file because the scenes share one play.

A scene sets up its trouble, yields, and continues after all work that waits for a batch has been submitted.
"""

import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from sqlalchemy import create_engine, text

from lanes.promises.incident import EVERYBODY, Promise
from lanes.stand.info import SUPERUSER
from lanes.standing.roles import Role
from lanes.store.signals import CLASS
from lanes.webhooks import TEST
from lanes.workload.form import Promises
from tests.earlier import published_before, waits_since
from tests.examples import SCHEMA
from tests.pages import block_of, of_models
from tests.rollouts import step, write
from tests.running_stand import RunningStand
from tests.waiting import until

FEW = 4  # too few for a promise to be evaluated
MANY = 25  # enough for a promise to be evaluated
POISON = {"status": 400, "error_type": "invalid_request_error"}
# Two such gates pass after 9 items.
GATE = {"measure": "error_rate", "max": 0.5, "at_least": 3}
ALL_DAY = {"off_peak_start": "00:00", "off_peak_end": "00:00"}

# `collect` continues, but the trigger drops its updates of its watermark.
NO_LOOKS = """
lock table lanes.watermark in share row exclusive mode;
update lanes.watermark set position = position - 3600 where name = 'watch';
update lanes.watermark set seen_until = seen_until - interval '1 hour' where name = 'collect';
update lanes.batch set submitted_at = submitted_at - interval '1 hour' where workload = 'collect-stopped';
create function lanes.keep() returns trigger language plpgsql as 'begin return null; end';
create trigger keep before update on lanes.watermark for each row when (old.name = 'collect') execute function lanes.keep();
"""

# The fields of a workload's definition besides the required ones, and the limit of its one promise.
FIELDS: Mapping[Promise, Mapping[str, Any]] = {
    Promise.BATCH_NEVER_STARTED: ALL_DAY,
    Promise.AUTHORITATIVE_FAILED: {"mode": "lambda", "max_failures": 1},
    Promise.PROVIDER_DOWN: {"realtime_model": "claude-opus-5-5"},
    Promise.PROVIDER_FROZEN: {"realtime_model": "claude-sonnet-5-5"},
    Promise.RULE_RAISES: {"urgent_when": "payload.amount > 100"},
}
LIMITS: Mapping[Promise, tuple[str, float]] = {
    Promise.BATCH_SLOW: ("batch_max_minutes", 1),
    Promise.BATCH_FAILING: ("batch_max_failure_percent", 5),
    Promise.BATCH_INVALID: ("batch_max_invalid_percent", 5),
    Promise.REALTIME_SLOW: ("realtime_p95_s", 0.5),
    Promise.REALTIME_FAILING: ("realtime_max_error_percent", 5),
    Promise.DEADLINE_MISSED: ("deadline_max_missed_percent", 5),
    Promise.QUALITY_DRIFT: ("quality_reference_answers", 20),
    Promise.MODEL_CHANGED: ("quality_reference_answers", 20),
}

# These promises compare with hours since the last change, so that change has to be old.
LONG_AGO = (Promise.ROUTING_SHIFTED, Promise.GUARDS_FIRE, Promise.READ_LATE)


@dataclass(frozen=True)
class BrokenPromise:
    """A promise and the stand on which a workload of its own breaks it."""

    stand: RunningStand
    promise: Promise

    @property
    def workload(self) -> str:
        return self.promise.replace("_", "-")

    def fault(
        self, where: str, kind: str, *, of: str = "letter", match: str | None = None, **how: Any
    ) -> None:
        """Let the provider fail the workload's items whose text contains `of`, or `match` if given."""
        rule = {"where": where, "kind": kind, "match": match or f"[{self.workload}] {of}", **how}
        self.stand.endpoint.post("_control/faults", json=rule).raise_for_status()

    def send(
        self,
        number: int,
        *,
        of: str = "letter",
        lane: str | None = None,
        due_in_s: float | None = None,
    ) -> None:
        """Admit `number` items."""
        said = self.stand.rows(
            "select lanes.submit(:w, jsonb_build_object('text', '[' || :w || '] ' || :of || ' ' || n), key => :of || ' ' || n,"
            " lane => cast(:lane as text), due_at => now() + make_interval(secs => cast(:due as float8))) as outcome"
            " from generate_series(1, :n) n",
            w=self.workload,
            of=of,
            n=number,
            lane=lane,
            due=due_in_s,
        )
        assert {each.outcome for each in said} == {"accepted"}, said

    def value(self, query: str) -> Any:
        """Return the value of a query about the workload, which the query calls `:w`."""
        return self.stand.value(query, w=self.workload)

    def definition(self) -> dict[str, Any]:
        """Return the content of the workload's block."""
        limits = dict.fromkeys(Promises.model_fields, 0) | dict(
            [LIMITS[self.promise]] if self.promise in LIMITS else []
        )
        fields = FIELDS.get(self.promise, {})
        return {
            "instructions": "Sort the letter.",
            "output_schema": SCHEMA,
            "promises": limits,
            **fields,
        }


def batch_slow(at: BrokenPromise) -> Iterator[None]:
    at.fault("batch_request", "stall")
    at.send(2, lane="batch")
    yield


def batch_failing(at: BrokenPromise) -> Iterator[None]:
    at.fault("batch_request", "status", of="torn", status=500, message="The scanner is jammed")
    at.send(MANY, lane="batch")
    at.send(MANY, of="torn", lane="batch")
    yield


def batch_invalid(at: BrokenPromise) -> Iterator[None]:
    at.fault("batch_request", "invalid_output")
    at.send(MANY, lane="batch")
    yield


def batch_unclear(at: BrokenPromise) -> Iterator[None]:
    yield
    # The batch must not be collected before the rule below is in force.
    at.fault("batch_request", "latency", latency_s=4)
    at.send(1, lane="batch")
    at.stand.run("depart", {"departure": {"workload": at.workload}})
    created = "select provider_batch_id from lanes.batch_status where workload = :w and provider_batch_id is not null"
    at.fault(
        "batches.retrieve",
        "archive",
        match=until(lambda: at.value(created), what="the batch"),
    )


def batch_incomplete(at: BrokenPromise) -> Iterator[None]:
    at.fault("batch_request", "lose", of="torn")
    at.send(2, lane="batch")
    at.send(1, of="torn", lane="batch")
    yield


def realtime_slow(at: BrokenPromise) -> Iterator[None]:
    at.fault("messages", "latency", latency_s=1.5)
    # The message needs answered calls to report their duration.
    at.send(FEW, of="letter before", lane="realtime")
    answered = "select count(answered_at) from lanes.item_status where workload = :w"
    until(lambda: at.value(answered) == FEW, what="the first answers")
    at.send(MANY, lane="realtime")
    yield


def realtime_failing(at: BrokenPromise) -> Iterator[None]:
    at.fault("messages", "status", of="torn", message="The image is upside down", **POISON)
    at.send(MANY, lane="realtime")
    at.send(MANY, of="torn", lane="realtime")
    yield


def authoritative_failed(at: BrokenPromise) -> Iterator[None]:
    at.fault("batch_request", "status", message="The page is blank", **POISON)
    # This item is answered, so that the other items are at fault and not their version.
    at.send(1, of="sound", lane="batch")
    at.send(2, lane="realtime")
    answered = "select count(*) from lanes.item_status where workload = :w and state = 'answered'"
    until(lambda: at.value(answered) == 2, what="provisional answers")
    yield


def workload_invalid(at: BrokenPromise) -> Iterator[None]:
    block = block_of(at.stand, at.workload)
    edited = {"data": {**block["data"], "patience_s": -5}, "merge_existing_data": False}
    at.stand.prefect.patch(f"block_documents/{block['id']}", json=edited).raise_for_status()
    yield


def items_failed(at: BrokenPromise) -> Iterator[None]:
    at.fault("messages", "status", message="The image is too small", **POISON)
    at.send(1, of="sound", lane="realtime")
    answered = "select count(answered_at) from lanes.item_status where workload = :w"
    until(
        lambda: at.value(answered) == 1,
        what="an answer, so that the items are at fault and not their version",
    )
    at.send(3, lane="realtime")
    yield


def provider_down(at: BrokenPromise) -> Iterator[None]:
    at.fault("messages", "status", status=529, message="Overloaded")
    at.send(6, lane="realtime")
    yield


def provider_frozen(at: BrokenPromise) -> Iterator[None]:
    at.fault("messages", "status", status=404, message="model: claude-sonnet-5-5")
    at.send(2, lane="realtime")
    yield


def approval_waits(at: BrokenPromise) -> Iterator[None]:
    file = write(at.stand.home, step(99, GATE, items=9, approval=True), step(100, GATE, items=9))
    at.stand.run(
        "migrate",
        {"order": {"workload": at.workload, "file": file, "who": "ada", "why": "a trial"}},
    )
    stands = "select state from lanes.rollout where workload = :w order by id desc limit 1"
    until(lambda: at.value(stands) == "running", what="the rollout")
    at.send(12)
    yield
    until(lambda: at.value(stands) == "waiting_approval", what="the question")


def budget(at: BrokenPromise) -> Iterator[None]:
    done = at.stand.cli("budget", at.workload, "--hard", "0.00001")
    assert done.returncode == 0, done.stderr
    at.send(2, lane="realtime")
    yield


def deadline_missed(at: BrokenPromise) -> Iterator[None]:
    at.fault("messages", "latency", latency_s=6)
    at.send(MANY, due_in_s=3)
    yield


def batch_never_started(at: BrokenPromise) -> Iterator[None]:
    yield
    paused = at.stand.prefect.patch("work_pools/batch", json={"is_paused": True})
    paused.raise_for_status()
    waits_since(at.stand, at.workload, "letter 1", hours=3)


def deadline_at_risk(at: BrokenPromise) -> Iterator[None]:
    yield
    # The items are due before the expected end of any batch that is submitted from now on.
    at.send(3, lane="batch", due_in_s=110)


def feed_silent(at: BrokenPromise) -> Iterator[None]:
    """Write figures in which items came every few minutes for four weeks, until three hours ago."""
    at.stand.rows(
        "insert into lanes.figure (grain, at, workload, lane, kind, word, n)"
        " select 'minute', date_trunc('minute', t), :w, 'realtime', 'item', 'settled', 1"
        " from generate_series(now() - interval '28 days', now() - interval '3 hours', interval '6 minutes') t"
        " returning at",
        w=at.workload,
    )
    yield


def rule_raises(at: BrokenPromise) -> Iterator[None]:
    at.send(3)
    yield


def routing_shifted(at: BrokenPromise) -> Iterator[None]:
    _hours(at, "realtime", {"split": 95, "urgent": 5}, {"split": 65, "urgent": 35})
    yield


def guards_fire(at: BrokenPromise) -> Iterator[None]:
    _hours(at, "batch", {"split": 100}, {"split": 70, "capacity": 30})
    yield


def _hours(at: BrokenPromise, lane: str, before: Mapping[str, int], now: Mapping[str, int]) -> None:
    """Write figures of the routes at these hours of the day: `before` for the past week, `now` for today."""
    at.stand.rows(
        "insert into lanes.figure (grain, at, workload, version_id, lane, kind, word, n)"
        " select 'hour', date_trunc('hour', now(), 'UTC') + make_interval(days => -day, hours => hour), name, version_id,"
        " :lane, 'route', word, 10 * n::int from lanes.workload, generate_series(0, 7) day, generate_series(-1, 1) hour,"
        " jsonb_each(case when day = 0 then cast(:now as jsonb) else cast(:before as jsonb) end) f (word, n)"
        " where name = :w returning at",
        w=at.workload,
        lane=lane,
        now=json.dumps(now),
        before=json.dumps(before),
    )


def chance_wrong(at: BrokenPromise) -> Iterator[None]:
    """Add seven copies of the workload's only batch that were collected a minute after their stated time."""
    at.send(1, lane="batch")
    yield
    collected = "select count(*) from lanes.batch where workload = :w and state = 'collected'"
    until(lambda: at.value(collected) == 1, what="the batch")
    at.stand.rows(
        "insert into lanes.batch overriding system value select (jsonb_populate_record(b, jsonb_build_object("
        " 'id', (select max(id) from lanes.batch) + 1000 + n, 'nonce', gen_random_uuid(),"
        " 'provider_batch_id', 'msgbatch_' || n, 'stated_back_at', b.collected_at - interval '1 minute'))).*"
        " from lanes.batch b, generate_series(1, 7) n where workload = :w returning id",
        w=at.workload,
    )


def read_late(at: BrokenPromise) -> Iterator[None]:
    """Write figures in which most of today's real-time answers were read hours after they arrived."""
    at.stand.rows(
        "insert into lanes.figure_spread (grain, at, workload, consumer, kind, buckets, counts)"
        " values ('day', date_trunc('day', now(), 'UTC'), :w, 'digest', 'read',"
        " array[lanes.figure_bucket(interval '5 s'), lanes.figure_bucket(interval '2 h')], array[10, 90]) returning at",
        w=at.workload,
    )
    yield


def bill_differs(at: BrokenPromise) -> Iterator[None]:
    """Add an answer of yesterday to the ledger that the provider did not bill."""
    at.send(1, lane="realtime")
    answered = "select count(answered_at) from lanes.item_status where workload = :w"
    until(lambda: at.value(answered) == 1, what="an answer")
    at.stand.rows(
        "insert into lanes.response overriding system value"
        " select (jsonb_populate_record(r, jsonb_build_object('id', r.id + 1000000, 'message_id', 'msg_of_yesterday',"
        " 'billed_at', date_trunc('day', now(), 'UTC') - interval '12 hours'))).*"
        " from lanes.response r where workload = :w returning id",
        w=at.workload,
    )
    at.stand.run("reconcile")
    yield


def webhook_gone(at: BrokenPromise) -> Iterator[None]:
    """Run a receiver on this machine that accepts a test event and answers 410 to the event of an answer."""

    class GoneHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204 if TEST.encode() in body else 410)
            self.end_headers()

    receiver = HTTPServer(("127.0.0.1", 0), GoneHandler)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{receiver.server_address[1]}/"
    at.stand.cli("webhooks", "add", at.workload, "--url", url, "--allow-private")
    at.send(1, lane="realtime")
    yield


def quality_drift(at: BrokenPromise) -> Iterator[None]:
    _after_the_reference(at, "outcome", "invalid_output")
    yield


def model_changed(at: BrokenPromise) -> Iterator[None]:
    _after_the_reference(at, "served", "other_model")
    yield


def _after_the_reference(at: BrokenPromise, measure: str, kind: str) -> None:
    """Send valid items until their answers are the reference, then let a fault spoil all later ones."""
    at.send(MANY, lane="realtime")
    learned = (
        "select count(*) from lanes.quality where workload = :w"
        f" and measure = '{measure}' and watch -> 'portions' <> '[]'"
    )
    until(lambda: at.value(learned) == 1, what="the reference of the answers")
    at.fault("messages", kind, of="later letter")
    at.send(MANY, of="later letter", lane="realtime")


def role_taken(at: BrokenPromise) -> Iterator[None]:
    """Take the lock of the drains' role in shared mode, so that drains can still start."""
    yield
    assert at.stand.info.postgres is not None
    engine = create_engine(
        at.stand.info.postgres.url("lanes", role=SUPERUSER),
        connect_args={"application_name": "report"},
    )
    at.stand.held.callback(engine.dispose)
    session = at.stand.held.enter_context(engine.connect())
    session.execute(
        text("select pg_advisory_lock_shared(:class, :role)"),
        {"class": CLASS, "role": int(Role.DRAIN)},
    )
    session.commit()


def collect_stopped(at: BrokenPromise) -> Iterator[None]:
    """Make the database show that `collect` last ran an hour ago; it continues to run, because the other scenes need it."""
    at.fault("batch_request", "stall")
    at.send(1, lane="batch")
    yield
    late = BrokenPromise(at.stand, Promise.BATCH_SLOW)
    # Once `collect` has stopped, that explains late batches: this incident must open before.
    if late.value("select count(*) from lanes.workload where name = :w"):
        until(lambda: incident_of(at.stand, late.promise), what="the late batch")
    assert at.stand.info.postgres is not None
    engine = create_engine(at.stand.info.postgres.url("lanes", role=SUPERUSER))
    with engine.begin() as connection:
        connection.execute(text(NO_LOOKS))
    engine.dispose()


# In the order of set-up: scenes that pause the pool of the batch lane come after all scenes that need its runs.
SCENES: Mapping[Promise, Callable[[BrokenPromise], Iterator[None]]] = {
    Promise(scene.__name__): scene
    for scene in (
        batch_slow,
        batch_failing,
        batch_invalid,
        batch_unclear,
        batch_incomplete,
        authoritative_failed,
        workload_invalid,
        approval_waits,
        budget,
        realtime_slow,
        realtime_failing,
        items_failed,
        provider_down,
        provider_frozen,
        deadline_missed,
        batch_never_started,
        deadline_at_risk,
        feed_silent,
        rule_raises,
        routing_shifted,
        guards_fire,
        chance_wrong,
        read_late,
        bill_differs,
        webhook_gone,
        quality_drift,
        model_changed,
        role_taken,
        collect_stopped,
    )
}


def break_promises(stand: RunningStand, promises: Collection[Promise]) -> None:
    """Break these promises, or prepare them so that they break within minutes by the passing of time alone."""
    scenes = [BrokenPromise(stand, each) for each in SCENES if each in promises]
    _publish(stand, scenes)
    plays = [SCENES[each.promise](each) for each in scenes]
    for each in plays:
        next(each)
    stand.kill_holder(Role.WATCHER)  # the next run reads the hours of earlier days again
    _depart(stand)
    for each in plays:
        next(each, None)


def incident_of(stand: RunningStand, promise: Promise) -> Any:
    """Return the newest incident of the promise's own workload or of all workloads, or None if there is none yet."""
    found = stand.rows(
        "select * from lanes.incident_log where promise = :p and workload in (:w, :all) order by incident_id desc limit 1",
        p=promise,
        w=BrokenPromise(stand, promise).workload,
        all=EVERYBODY,
    )
    return found[0] if found else None


def _publish(stand: RunningStand, scenes: Collection[BrokenPromise]) -> None:
    """Save the blocks of the scenes' workloads, and wait until they are in force and forms offer them."""
    known = block_of(stand, "archive")
    for each in scenes:
        if each.promise in LONG_AGO:
            published_before(stand, each.workload, each.definition(), days=60)
        block = {"name": each.workload, "data": each.definition()}
        of_type = {
            "block_schema_id": known["block_schema_id"],
            "block_type_id": known["block_type_id"],
        }
        stand.prefect.post("block_documents/", json=block | of_type).raise_for_status()
    names = {each.workload for each in scenes}
    until(
        lambda: all(names <= set(_offered(stand, flow)) for flow in ("depart", "migrate")),
        what="the workloads in the forms of depart and migrate",
    )


def _offered(stand: RunningStand, flow: str) -> list[str]:
    schema = stand.prefect.get(f"deployments/name/{flow}/{flow}").json()["parameter_openapi_schema"]
    return dict(of_models(schema))["workload"].get("enum", [])


def _depart(stand: RunningStand) -> None:
    """Submit all work that waits for a batch, and wait for the end of the run."""
    received = "select count(*) from lanes.item where position is null and canceled_at is null"
    until(lambda: stand.value(received) == 0, what="routes")
    stand.wait_for_end(stand.run("depart", {"departure": {}}))
