"""docs/reference/events.md: events in and out, with their payloads. `tests/docs/test_events.py` compares them with the code."""

from collections.abc import Mapping
from dataclasses import dataclass

from lanes.batch.batch import COUNTS
from lanes.doors.item import FIELDS, KEY_LIMIT
from lanes.rollouts.rollout import Happened
from lanes.store.outbox import PER_S
from tests.docs.references.markdown import block, code, document, of_each, table

ABOUT = f"""
Events travel by Prefect. You send some to Lanes, and Lanes tells what happened by others, which Prefect's automations, or
any client of its event stream, can act on. The resource `lanes.workload.NAME` says which workload an event is about.

Events are best effort by Prefect's nature. Set `ack`, or use SQL or the Python client, where a sender must know. Lanes
publishes up to {PER_S} events a second; they wait in the database while Prefect is away, and are told in their order.
"""
SENDING = """
Send them to `/api/events` of the Prefect server (`lanes url prefect` prints its address), with its login (`curl -K "$(lanes
url prefect --curl-config)"`). Prefect wants an `id` and the moment at which it `occurred` of each event. [Send items by
event](../how-to/send-by-event.md) shows a whole call.
"""
EXAMPLE = """
{
  "id": "0c1d4b9e-4a5e-4f38-9d0f-3a0f5c7c6a11",
  "occurred": "2026-12-01T09:00:00Z",
  "event": "lanes.item.arrived",
  "resource": {"prefect.resource.id": "lanes.workload.tickets"},
  "payload": {"key": "t-1", "payload": {"text": "Where is my parcel?"}, "due_in_s": 1800, "consumer": "support-desk"}
}
"""
ARRIVED = {
    "key": f"Names the item within its workload, up to {KEY_LIMIT} characters. Without it the event's id does.",
    "payload": "What the item says: a JSON object. Required.",
    "due_at": "When the answer is due, ISO 8601. A time without a zone is UTC.",
    "due_in_s": "The same in seconds after the event occurred. Give one of the two.",
    "occurred_at": "When it happened, ISO 8601; else when it is received. Age and order use it.",
    "urgent": "True: real-time, before what is not urgent.",
    "consumer": "Who reads the result: rules, splits and budgets may tell consumers apart.",
    "entity": "Whom the item is about: the split keeps all items of an entity on one side.",
    "lane": "realtime or batch: pins the item.",
    "ack": "True: its sender is told of its admission and of its answer, whatever the workload announces.",
    "job": "Name of the job that the item is part of: `lanes job NAME` follows all of them as one.",
    "traceparent": "W3C trace context of its sender: the item joins that trace. What is none is ignored, and the item is kept.",
}
AMENDED = {
    "key": "Key of the item. It may come before its item: then it waits.",
    "payload": "What the item says from then on: a JSON object. Required.",
    "occurred_at": "When that happened; else when the event occurred. Of two amendments the later one is in force.",
}
PLACED = {
    "source": "The door: event, sql, client or a file's name.",
    "place": "What names the input there, such as the event's id.",
}
OF_ITEM = {
    "key": "Key of the item.",
    "lane": "The lane that answered, or failed: realtime or batch.",
}
READERS = {
    "readers": "Who read the answer that was replaced, at most 20 names; `lanes.reads_to_correct` has both outputs."
}
ACKED = {"ack": "True where its sender asked to be told; else absent."}
OF_BATCH = {
    "batch_id": "Its number, as in view `batch_status`.",
    "items": "How many items it carries.",
}
REQUESTS = {"requests": "How many requests it holds."}


@dataclass(frozen=True)
class DocumentedEvent:
    """An outgoing event: when Lanes sends it, and the fields of its payload."""

    when: str
    says: Mapping[str, str]


OUT: Mapping[str, DocumentedEvent] = {
    "lanes.item.accepted": DocumentedEvent(
        "An item that was sent with `ack` was admitted, or was there already.",
        {
            "key": "Key of the item.",
            "outcome": "accepted, or duplicate: the same key with the same content.",
            **PLACED,
        },
    ),
    "lanes.item.rejected": DocumentedEvent(
        "An input was refused. It is kept in view `rejected_log`.",
        {
            "key": "The key it came with; absent where none was read.",
            "outcome": "The reason, in one word: [Errors](errors.md#what-a-door-refuses) lists them.",
            "detail": "What is wrong and what to do.",
            **PLACED,
        },
    ),
    "lanes.item.answered": DocumentedEvent(
        "An answer stands: each, those of real-time or none, as the workload's `announces` says, and always with `ack`.",
        OF_ITEM | {"standing": "provisional or authoritative."} | ACKED,
    ),
    "lanes.item.corrected": DocumentedEvent(
        "An authoritative answer replaced a different one.",
        OF_ITEM
        | {
            "changed_fields": "Which of the compared fields differ.",
            "late_context": "Parts of the context that came late and caused this second pass: history, label, reference; "
            "null: it was due anyway.",
        }
        | READERS
        | ACKED,
    ),
    "lanes.item.failed": DocumentedEvent(
        "An item was given up; `lanes retry` brings it back.",
        OF_ITEM | {"reason": "Why, as a sentence."} | ACKED,
    ),
    "lanes.job.done": DocumentedEvent(
        "Every item of a job is settled, failed or canceled; again where failed ones were tried again.",
        {
            "job": "Name of the job.",
            "received": "Items that exist because of it.",
            "settled": "Those with an authoritative answer.",
            "failed": "Those that were given up; `lanes job NAME --retry` brings them back.",
            "canceled": "Those that were withdrawn.",
            "cost_usd": "What they cost, US dollars.",
        },
    ),
    "lanes.batch.submitted": DocumentedEvent("The provider has a batch.", OF_BATCH | REQUESTS),
    "lanes.batch.ended": DocumentedEvent(
        "The provider has finished a batch. Its results are still to be read.",
        OF_BATCH
        | REQUESTS
        | {
            "succeeded": "Requests that were answered.",
            "errored": "Requests for which the provider failed.",
            "canceled": "Requests that were canceled before they ran.",
            "expired": "Requests that expired before they ran.",
        },
    ),
    "lanes.batch.collected": DocumentedEvent(
        "Every result of a batch was applied: its answers can be read.",
        OF_BATCH
        | of_each(
            COUNTS,
            {
                "succeeded": "Items with a valid answer.",
                "invalid": "Items whose answer was billed and unusable.",
                "errored": "Items for which the provider failed.",
                "canceled": "Items whose request was canceled before it ran.",
                "expired": "Items whose request expired before it ran.",
                "missing": "Items without any result.",
            },
            what="counts of a batch",
        ),
    ),
    "lanes.incident.opened": DocumentedEvent(
        "A promise is broken. The resource is `lanes.provider` where it concerns every workload.",
        {
            "incident_id": "Its number, as in view `incident_log`.",
            "promise": "Which one: [Promises](promises.md) lists them.",
            "subject": "The part of the workload that it is about, such as batch 41; empty: all of it.",
            "severity": "digest, warning or critical.",
            "value": "The measurement, in the unit.",
            "limit_value": "What was promised, in the unit; 0: any is too much.",
            "unit": "minutes, percent, seconds, items, calls, fields or sessions.",
            "sentence": "What is wrong, for a person.",
            "parent_id": "The incident that explains it; null: none.",
        },
    ),
    "lanes.work.waiting": DocumentedEvent(
        "Real-time work waits that no drain serves. Lanes tells itself: a drain is started. Resource `lanes.lane.realtime`.",
        {
            "ready": "How much work waits.",
            "received": "How many items are not routed yet; absent where all are.",
        },
    ),
}
PROPOSED = DocumentedEvent(
    "The advice proposes a rollout to batch for a consumer who reads late.",
    {
        "proposal_id": "Its number, as `lanes proposals` shows it.",
        "consumer": "Whose items it would move.",
        "playbook": "Name of its playbook.",
        "saving_usd": "What it saves a month, off the provider's bill.",
        "confidence": "0 to 1: at least this sure that few of the answers are read at once.",
    },
)
RESOLVED = DocumentedEvent(
    "A promise is kept again.", {**OUT["lanes.incident.opened"].says, "sentence": "How it ended."}
)
OF_REPLAY = {
    "generation": "Number of the replay, as in view `replay_log`.",
    "version": "Number of the version that answered it.",
    "items": "How many items show another result now.",
    "readers": "Who read an answer that was replaced, at most 20 names; `lanes.reads_to_correct` has both outputs.",
}
OF_ROLLOUT = {
    "rollout_id": "Its number, as in view `rollout_log`.",
    "playbook": "Name of its playbook.",
    "consumer": "Whose items it moves; null: all of the workload.",
    "step": "The step in force afterwards, from 1.",
    "steps": "How many steps the playbook has.",
    "percent": "Share to real-time, or to the version, afterwards, 0 to 100.",
    "version": "Number of the new version that gets the share; null if real-time does.",
    "who": "Who wanted it: a person, or the rollout itself.",
    "why": "The reason, with what was measured.",
}
OF_HAPPENINGS = {
    Happened.STARTED: "A rollout began.",
    Happened.STEPPED: "It went on to its next step.",
    Happened.HELD: "It holds: its gates have too little to judge by, or something is in the way.",
    Happened.APPROVAL_ASKED: "A person is asked to approve.",
    Happened.APPROVED: "A person approved.",
    Happened.DECLINED: "A person declined: the share before is in force.",
    Happened.EXTENDED: "A person gave the step more time.",
    Happened.ROLLED_BACK: "A gate failed, or time ran out: the share before is in force.",
    Happened.FINISHED: "Every step passed, and its share stays.",
    Happened.ABORTED: "A person ended it: the share before is in force.",
}


def out() -> dict[str, DocumentedEvent]:
    """Return every event that Lanes sends."""
    said = of_each(
        Happened,
        {each.value: text for each, text in OF_HAPPENINGS.items()},
        what="what happens to rollouts",
    )
    rollouts = {
        f"lanes.rollout.{happened}": DocumentedEvent(text, OF_ROLLOUT)
        for happened, text in said.items()
    }
    waiting = OUT["lanes.work.waiting"]
    return {name: told for name, told in OUT.items() if told is not waiting} | {
        "lanes.incident.resolved": RESOLVED,
        "lanes.proposal.opened": PROPOSED,
        "lanes.replay.promoted": DocumentedEvent("Readers get a replay's results.", OF_REPLAY),
        "lanes.replay.demoted": DocumentedEvent("A promotion was taken back.", OF_REPLAY),
        **rollouts,
        "lanes.work.waiting": waiting,
    }


def page() -> str:
    """Return the page."""
    told = out()
    rollouts = [name for name in told if name.startswith("lanes.rollout.")]
    alone = [name for name in told if name not in rollouts]
    return document(
        "Events",
        ABOUT,
        "## Events in",
        SENDING,
        block("json", EXAMPLE.strip()),
        "### lanes.item.arrived",
        "An item. Unknown fields are refused.",
        _fields(of_each(FIELDS, ARRIVED, what="fields of an item")),
        "### lanes.item.amended",
        "Late data for an item. The authoritative pass sees it.",
        _fields(AMENDED),
        "## Events out",
        table(("event", "when"), [(code(name), each.when) for name, each in told.items()]),
        *(f"### {name}\n\n{_fields(told[name].says)}" for name in alone),
        "### lanes.rollout",
        "Each of a rollout's events says the same:",
        _fields(OF_ROLLOUT),
    )


def _fields(said: Mapping[str, str]) -> str:
    return table(("field", "description"), [(code(name), text) for name, text in said.items()])
