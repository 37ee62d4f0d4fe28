"""Files that only their owner reads, and digests of secrets against which no guess can be checked without the stand's key."""

import hmac
import os
import secrets
import tempfile
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from threading import Lock

KEY = "digest.key"
KEY_BYTES = 32
_making_key = Lock()  # steps of one `up` run beside each other; two runs never do


def write_private(file: Path, text: str) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    descriptor, draft = tempfile.mkstemp(
        dir=file.parent, prefix=f"{file.name}."
    )  # its mode is 0600
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    Path(draft).replace(file)


def digest_of_secrets(home: Path, parts: Sequence[str]) -> str:
    """Return a digest that changes whenever one of the parts does: an HMAC with the key of this home, made when needed."""
    return hmac.new(
        _key(home), "\0".join(parts).encode(), lambda: blake2b(digest_size=16)
    ).hexdigest()


def _key(home: Path) -> bytes:
    file = home / KEY
    with _making_key:
        try:
            kept = bytes.fromhex(file.read_text())
            if len(kept) == KEY_BYTES:
                return kept
        except (OSError, ValueError):
            pass
        home.mkdir(parents=True, exist_ok=True)
        made = secrets.token_bytes(KEY_BYTES)
        write_private(file, made.hex())
        return made
