"""Character n-grams as vectors, the fallback of the stand-in where no embedding model runs."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 1_024


def embed_ngrams(text: str) -> NDArray[Any]:
    """Return the text as a unit vector of hashed 3- to 5-grams of its words, with square-root damping."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    padded = f" {' '.join(text.lower().split())} "
    for size in (3, 4, 5):
        for start in range(len(padded) - size + 1):
            vector[zlib.crc32(padded[start : start + size].encode()) % DIMENSIONS] += 1
    vector = np.sqrt(vector)
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
