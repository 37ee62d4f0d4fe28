"""The state that the SDK's own test suite expects of a server: a permanent batch with a fixed id."""

from __future__ import annotations

import orjson

from anthropic_standin.batch_store import BatchStore, Finished
from anthropic_standin.envelope import Envelope
from anthropic_standin.errors import ApiError

SEEDED_ID = "message_batch_id"
_CUSTOM_ID = "my-custom-id-1"


def seed(store: BatchStore, now: float) -> None:
    """Store the ended batch `message_batch_id`; must run before the batch worker starts."""
    try:
        store.get(SEEDED_ID)
    except ApiError:
        envelope = Envelope(orjson.dumps({"requests": [{"custom_id": _CUSTOM_ID, "params": {}}]}))
        batch = store.create(envelope, now, id=SEEDED_ID)
        line = orjson.dumps({"custom_id": _CUSTOM_ID, "result": {"type": "canceled"}})
        places = [place for place, _ in store.waiting(batch, after=-1, limit=1)]
        store.finish(batch, [Finished(place, "canceled", line) for place in places])
        store.end(batch, now)
