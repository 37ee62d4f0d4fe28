"""Embeddings on disk: after a restart the stand-in does not embed the same texts again."""

from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16


def read_vectors(file: Path) -> OrderedDict[bytes, NDArray[Any]]:
    """Return the vectors by the digest of their text, oldest first; empty if the file is missing or unreadable."""
    try:
        with np.load(file) as saved:
            keys = saved["keys"].tobytes()
            digests = [keys[start : start + KEY_BYTES] for start in range(0, len(keys), KEY_BYTES)]
            return OrderedDict(zip(digests, saved["vectors"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return OrderedDict()


def write_vectors(file: Path, kept: OrderedDict[bytes, NDArray[Any]]) -> None:
    """Write the vectors to the file atomically."""
    if not kept:
        return
    draft = file.with_name(f"{file.name}.draft")
    with draft.open("wb") as out:
        np.savez(
            out,
            keys=np.frombuffer(b"".join(kept), dtype=np.uint8),
            vectors=np.stack(list(kept.values())),
        )
    os.replace(draft, file)
