"""Which packed items are also answered alone, and which of these twice: chosen by their keys, never by chance."""

from hashlib import blake2b

SALT = "lanes.pack_check.1"
TWICE = (
    1 / 3
)  # of those that are checked: how often single agrees with single is what packing is held against
WHOLE = 2**64


def is_checked(workload: str, key: str, share: float) -> bool:
    """Whether the item is among such a share of all, 0 to 1."""
    return _place(workload, key) < share


def is_checked_twice(workload: str, key: str, share: float) -> bool:
    """Whether it is answered alone a second time."""
    return _place(workload, key) < share * TWICE


def _place(workload: str, key: str) -> float:
    """0 to 1, and always the same for an item."""
    text = "\x1f".join((workload, SALT, key))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / WHOLE
