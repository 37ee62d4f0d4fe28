"""Work in chunks that are bounded by number and by bytes, so that what one transaction holds fits into memory."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

MOST_BYTES = 8 * 1024**2  # of one chunk at a door; a single input may be larger than that
PER_VALUE = 8  # what a number, a comma or a bracket about takes


def chunks(inputs: Iterable[T], *, most: int, most_bytes: int, weight: Callable[[T], int]) -> Iterator[list[T]]:
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


def weight(value: Any) -> int:
    """About how many bytes a value takes as JSON; right for its texts but for what they need more than a byte for."""
    held, waiting = 0, [value]
    while waiting:
        match each := waiting.pop():
            case str():
                held += len(each) + 2
            case dict():
                waiting += each.values()
                held += sum(map(len, map(str, each))) + PER_VALUE * len(each)
            case list() | tuple():
                waiting += each
            case _:
                held += PER_VALUE
    return held
