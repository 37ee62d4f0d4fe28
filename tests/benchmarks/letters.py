"""The workload of the benchmarks, its inputs and its answer: a rule decides for some items, the split for the rest."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from lanes.workload.version import Version
from tests.examples import publish

WORKLOAD = "letters"
RULE = "payload.pages > 30"  # true for one letter in 40
ANSWER = {"category": "a", "note": "as asked"}
ANSWER_TEXT = json.dumps(ANSWER)


def payloads(items: int) -> list[dict[str, Any]]:
    """Return short letters to submit."""
    return [
        {
            "text": f"Letter {number}: my parcel should have been here yesterday. Where is it?",
            "pages": number % 40 * 32 // 39,
        }
        for number in range(items)
    ]


def realtime(connection: Connection, *, now: datetime, **fields: Any) -> Version:
    """Publish letters for the real-time lane: a rule sends some items there, the split sends the others."""
    return publish(connection, WORKLOAD, now=now, urgent_when=RULE, split_percent=100, **fields)


def batch(connection: Connection, *, now: datetime, **fields: Any) -> Version:
    """Publish letters for the batch lane: a rule sends some items there, the split sends the others."""
    return publish(connection, WORKLOAD, now=now, batch_when=RULE, split_percent=0, **fields)
