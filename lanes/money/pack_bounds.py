"""How much one call may hold whatever packing does to answers: what the model can say at most, and where prompts get dearer."""

import json
from datetime import datetime
from typing import TYPE_CHECKING

from lanes.money.cost import FRAME_TOKENS, most_answer_tokens, shared_bytes
from lanes.words import Lane
from lanes.workload import prices

if TYPE_CHECKING:
    from lanes.workload.version import Spec, Version

# The longest answer of the models that say least. A call asks for the longest answers of all of its items, reasoning included,
# and is refused where that is more than its model can say.
MOST_ANSWER_TOKENS = 64_000
BYTES_PER_TOKEN = 3  # of UTF-8, at least: English has more than four, Chinese about three


def most_items(spec: "Spec", lane: Lane) -> int:
    """How many items may share a call on a lane: as many as the workload allows, and a model can answer; 1 at least."""
    longest = most_answer_tokens(spec, 2) // 2  # of one within a pack
    return max(1, min(spec.pack_of(lane), MOST_ANSWER_TOKENS // longest))


def most_bytes(version: "Version", lane: Lane, at: datetime) -> int | None:
    """Return how many bytes the items of a call may have together, so that its prompt stays below the price of longer ones.

    None where no prompt of the model is dearer than another, or its price is no longer known. An item that alone has more pays.
    In real time a token may be a single byte: an item reserves money for a call of its own, and a call that several share must
    never cost more than these together.
    """
    spec = version.spec
    start = prices.dearer_above(spec.model_of(lane), lane, at)
    if start is None:
        return None
    if lane is Lane.REALTIME:
        return max(0, start - shared_bytes(spec))
    shared = len(spec.instructions.encode()) + len(json.dumps(spec.output_schema).encode())
    return max(0, (start - FRAME_TOKENS) * BYTES_PER_TOKEN - shared)
