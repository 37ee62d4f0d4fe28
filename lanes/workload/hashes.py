"""What a definition's content is known by."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lanes.words import Announces
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
    """Equal for equal definitions, whatever the order of their keys: 64 hexadecimal digits."""
    return _hash(_content(spec))


def known_as(spec: Spec) -> list[str]:
    """The hashes under which a workload may have this content: its own first, then what an earlier release knew it by.

    A version from before `announces` existed announces each answer. A definition that says nothing of it leaves such a
    version in force, as it stands; a version that is new takes the default.
    """
    content = _content(spec)
    if spec.announces is not Announces.EACH and not spec.silent:
        return [_hash(content)]
    return [
        _hash(content),
        _hash({name: value for name, value in content.items() if name != "announces"}),
    ]


def _content(spec: Spec) -> dict[str, Any]:
    content = spec.model_dump(mode="json")
    content["promises"] = _without(LATER_PROMISES, content["promises"])
    return _without(LATER, content)


def _without(later: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if later.get(name, ...) != value}


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(
        json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
    ).hexdigest()
