"""Whether what lies in Prefect was deployed, and installed, from exactly this source."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from lanes.stand.private import digest_of_secrets, write_private

ROOMS = ("flows", "tasks", "blocks", "lanes")


def source_digest(checkout: Path) -> str:
    """Changes whenever a new deployment could come out differently: prefect.yaml, the code, their place."""
    digest = blake2b(str(checkout).encode(), digest_size=16)
    sources = (file for room in ROOMS for file in (checkout / room).rglob("*.py"))
    for file in [checkout / "prefect.yaml", *sorted(sources)]:
        digest.update(str(file.relative_to(checkout)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def values_digest(values: Mapping[str, str], home: Path) -> str:
    """Return a digest that changes whenever one of the values does; without the key of this home it says nothing of them."""
    return digest_of_secrets(home, [json.dumps(dict(values), sort_keys=True)])


def is_current(stamp: Path, source: str, present: Mapping[str, str]) -> bool:
    """Whether the last deployment came from this source, and all it made is still there under its id."""
    try:
        said = json.loads(stamp.read_text())
        made: dict[str, str] = said["deployments"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return said.get("source") == source and bool(made) and made.items() <= present.items()


def remember(stamp: Path, source: str, present: Mapping[str, str]) -> None:
    """Write into the stamp that `present` (id by name) came from this source."""
    write_private(stamp, json.dumps({"source": source, "deployments": dict(present)}, indent=2))
