"""Workloads and items for tests: each call names only the values that matter to the test."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from lanes.doors.item import Submission
from lanes.ids import IncidentId, VersionId
from lanes.promises.incident import Incident, IncidentState, Promise, Severity
from lanes.provider.batches import BLOCK, BatchBody, custom_id
from lanes.rollouts.replays import Generation, Selection
from lanes.routing.route import ArrivedItem, decide
from lanes.store.doors import full_data, items, unrouted
from lanes.store.replays import replays
from lanes.store.routing import routes
from lanes.store.workload import workloads
from lanes.words import Signature
from lanes.workload.definition import parse
from lanes.workload.version import Spec, Version
from tests.conftest import NOON

FORCED = Selection(force=True)  # answers items again although nothing changed
SCHEMA = {
    "type": "object",
    "properties": {"category": {"type": "string", "enum": ["a", "b"]}, "note": {"type": "string"}},
    "required": ["category"],
    "additionalProperties": False,
}


def spec(**fields: Any) -> Spec:
    """Return a valid workload definition."""
    return parse("letters", {"instructions": "Sort the letter.", "output_schema": SCHEMA, **fields})


def incident_of(
    promise: Promise, workload: str = "letters", subject: str = "", **fields: Any
) -> Incident:
    """Return an open incident with a warning."""
    made = Incident(
        IncidentId(7),
        "uid",
        promise,
        workload,
        subject,
        Severity.WARNING,
        IncidentState.OPEN,
        9,
        5,
        20,
        "items",
        "It is so.",
        NOON,
        NOON,
        None,
    )
    return replace(made, **fields)


def begin_replay(
    connection: Connection, name: str = "letters", *, now: datetime = NOON, **asked: Any
) -> Generation:
    """Begin a replay by the version in force; by default it selects all items, changed or not."""
    asked = {"version_no": None, "first": None, "last": None, "selection": FORCED} | asked
    return replays.begin(connection, name, by=Signature("ada", "", now), **asked)


def version(id: int = 1, workload: str = "letters", **fields: Any) -> Version:
    """Return a version that is not stored in a database."""
    return Version(VersionId(id), workload, 1, spec(**fields))


def stored_version(**fields: Any) -> Version:
    """Return a version as stored by an earlier release, even if today's rules for definitions forbid its fields."""
    return Version(
        VersionId(1),
        "letters",
        1,
        Spec.load({"instructions": "Sort the letter.", "output_schema": SCHEMA, **fields}),
    )


def publish(
    connection: Connection, name: str = "letters", *, now: datetime, **fields: Any
) -> Version:
    """Publish a workload."""
    return workloads.publish(connection, name, spec(**fields), now=now)


def submission(key: str, workload: str = "letters", **fields: Any) -> Submission:
    """Return a well-formed input."""
    return Submission(
        workload, fields.pop("payload", {"text": f"letter {key}"}), place=key, key=key, **fields
    )


def admit(
    connection: Connection, *keys: str, now: datetime, workload: str = "letters", **fields: Any
) -> None:
    """Admit items with these keys, without routing them."""
    items.admit(
        connection, [submission(key, workload, **fields) for key in keys], door="client", now=now
    )


def route(connection: Connection, *, now: datetime) -> None:
    """Route all received items as the router does."""
    stored, splits = workloads.to_route(connection, workloads.read_versions(connection))

    def version_of(item: ArrivedItem) -> Version:
        version, canary = stored.versions[item.workload], stored.canaries.get(item.workload)
        if canary is not None:
            version, _ = canary.choose(version, entity=item.entity, key=item.key)
        return version

    routes.save(
        connection,
        [
            (item, version, decide(item.arrived, version, splits, now=now))
            for item in full_data.measure_context(
                connection, unrouted.lock_received(connection, 10_000), stored.versions
            )
            for version in [version_of(item.arrived)]
        ],
        now=now,
    )


def batch_body(nonce: str, *params: dict[str, Any], block: int = BLOCK) -> BatchBody:
    """Return the body of a batch creation, with one request for each element of `params`."""
    body = BatchBody(block)
    for number, each in enumerate(params):
        body.add(custom_id(nonce, number), json.dumps(each).encode())
    body.seal()
    return body
