"""Sends the ready-made items through the event door, as an upstream system would."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from lanes.mainjob.samples.files import (
    sample_amendments,
    sample_appeals,
    sample_items,
    sample_workloads,
)
from lanes.stand.prefect_api import PrefectApi

PER_REQUEST = 40  # the server takes about 200 events a second without loss
ARRIVED, AMENDED = "lanes.item.arrived", "lanes.item.amended"


@dataclass(frozen=True)
class Sample:
    """One ready-made item, or what is added to one, as it is sent in this run."""

    workload: str
    key: str
    fields: dict[str, Any]
    expected: dict[str, Any] | None


def samples(run: str, *, now: datetime) -> list[Sample]:
    """Return every ready-made item, with keys of this run, so that each run has work to do. Ages become event times."""
    return [
        _sample(workload, each, run, now)
        for workload in sample_workloads()
        for each in sample_items(workload)
    ]


def amendments(run: str, *, now: datetime) -> list[Sample]:
    """Return what customers add to items of this run, and what is right then."""
    return [
        _sample(workload, each, run, now)
        for workload, given in sample_amendments().items()
        for each in given
    ]


def appeals(run: str, *, now: datetime) -> list[Sample]:
    """Return the items of this run that came some minutes before it."""
    return [
        _sample(workload, each, run, now)
        for workload, given in sample_appeals().items()
        for each in given
    ]


def send(
    api: PrefectApi, sent: Sequence[Sample], *, now: datetime, event: str = ARRIVED
) -> Iterator[int]:
    """The number of samples sent so far, after each request."""
    for start in range(0, len(sent), PER_REQUEST):
        chunk = sent[start : start + PER_REQUEST]
        api.emit([_event(each, event, uuid4(), now) for each in chunk])
        yield start + len(chunk)


def _sample(workload: str, item: dict[str, Any], run: str, now: datetime) -> Sample:
    fields = {
        name: value for name, value in item.items() if name not in ("label", "age_days", "key")
    }
    if "age_days" in item:
        fields["occurred_at"] = (now - timedelta(days=item["age_days"])).isoformat()
    key = f"{item['key']}-{run}"
    return Sample(workload, key, {"key": key, **fields}, item.get("label"))


def _event(sample: Sample, event: str, event_id: UUID, now: datetime) -> dict[str, Any]:
    return {
        "id": str(event_id),
        "event": event,
        "occurred": now.isoformat(),
        "resource": {
            "prefect.resource.id": f"lanes.workload.{sample.workload}",
            "prefect.resource.name": sample.workload,
        },
        "payload": sample.fields,
    }
