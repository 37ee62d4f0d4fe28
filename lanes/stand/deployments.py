"""Whether what lies in Prefect was deployed, and installed, from exactly this source."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

ROOMS = ("flows", "tasks", "blocks", "lanes")


def source_digest(checkout: Path) -> str:
    """Changes whenever a new deployment could come out differently: prefect.yaml, the code, their place."""
    digest = blake2b(str(checkout).encode(), digest_size=16)
    sources = (file for room in ROOMS for file in (checkout / room).rglob("*.py"))
    for file in [checkout / "prefect.yaml", *sorted(sources)]:
        digest.update(str(file.relative_to(checkout)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def values_digest(values: Mapping[str, str]) -> str:
    """Changes whenever one of the values does; it does not give them away."""
    text = json.dumps(dict(values), sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def is_current(stamp: Path, source: str, present: Mapping[str, str]) -> bool:
    """Whether the last deployment came from this source, and all it made is still there under its id."""
    try:
        said = json.loads(stamp.read_text())
        made: dict[str, str] = said["deployments"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return said.get("source") == source and bool(made) and made.items() <= present.items()


def remember(stamp: Path, source: str, present: Mapping[str, str]) -> None:
    """The stamp says that `present` (id by name) came from this source."""
    stamp.write_text(json.dumps({"source": source, "deployments": dict(present)}, indent=2))
