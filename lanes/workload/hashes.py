"""What a definition's content is known by."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lanes.workload.version import Spec

# Fields that came after versions had been published: left out at this value, so that those are known again.
LATER: Mapping[str, Any] = {
    "keep_payload_days": 0,
    "confidence": 0.95,
    "value_usd": 0,
    "half_life_s": 3600,
    "pack_check_share": 0.005,
    "input_schema": {},
    "pack_scope": "workload",
}
LATER_PROMISES = {"deadline_max_missed_percent": 5}


def content_hash(spec: Spec) -> str:
    """Return 64 hexadecimal digits, equal for equal definitions whatever the order of their keys."""
    content = spec.model_dump(mode="json")
    content["promises"] = _without(LATER_PROMISES, content["promises"])
    sorted_content = json.dumps(_without(LATER, content), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(sorted_content.encode()).hexdigest()


def _without(later: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if later.get(name, ...) != value}
