"""What a definition's content is known by."""

import hashlib
import json
from typing import Any

from lanes.words import Announces
from lanes.workload.version import Spec


def content_hash(spec: Spec) -> str:
    """Equal for equal definitions, whatever the order of their keys: 64 hexadecimal digits."""
    return _hash(spec.model_dump(mode="json"))


def known_as(spec: Spec) -> list[str]:
    """The hashes under which a workload may have this content: its own first, then what an earlier release knew it by.

    A version from before `announces` existed announces each answer. A definition that says nothing of it leaves such a
    version in force, as it stands; a version that is new takes the default.
    """
    hashes = [content_hash(spec)]
    if spec.announces is Announces.EACH or spec.silent:
        hashes.append(_hash(spec.model_dump(mode="json", exclude={"announces"})))
    return hashes


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
