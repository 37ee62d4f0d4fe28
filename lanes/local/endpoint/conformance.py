"""The state that the SDK's own test suite expects of a server: a batch with a fixed id that is always there."""

from __future__ import annotations

import time

import orjson

from lanes.local.endpoint.batch_store import BatchStore
from lanes.local.endpoint.envelope import Envelope
from lanes.local.endpoint.errors import ApiError

SEEDED_ID = "message_batch_id"
_PARAMS = {
    "model": "claude-haiku-5-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hello, world"}],
}


def reseed(store: BatchStore) -> None:
    """A batch `message_batch_id` exists; it is made when it does not."""
    try:
        store.get(SEEDED_ID)
    except ApiError:
        body = orjson.dumps({"requests": [{"custom_id": "my-custom-id-1", "params": _PARAMS}]})
        store.create(Envelope(body), time.time(), id=SEEDED_ID)
