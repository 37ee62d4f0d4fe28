"""Work in chunks that are bounded by number and by bytes, so that what one transaction holds fits into memory."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

MOST_BYTES = 8 * 1024**2  # of one chunk at a door; a single input may be larger than that


def chunks(
    inputs: Iterable[T], *, most: int, most_bytes: int, weight: Callable[[T], int]
) -> Iterator[list[T]]:
    """The inputs in order, up to `most` at a time, and no more once they weigh `most_bytes`. Nothing is read ahead."""
    chunk: list[T] = []
    held = 0
    for each in inputs:
        chunk.append(each)
        held += weight(each)
        if len(chunk) >= most or held >= most_bytes:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk
