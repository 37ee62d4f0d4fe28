"""What the items of a pack are called in their call: no input can guess it, and whoever knows the nonce derives it again."""

import base64
import hashlib
import secrets
from enum import StrEnum

ALONE = "1"  # an item that has its call to itself: nobody is told its name
DIGEST_BYTES = 5  # eight characters: one chance in a million millions for whoever guesses


class PackIds(StrEnum):
    """How the packs of a batch name their items."""

    COUNTED = "counted"  # 1, 2, 3 ...: batches from before ids were derived, until they are home
    DERIVED = "derived"  # from the nonce, the number of the request and the slot


def new_nonce() -> str:
    """A secret of one batch, or of one real-time call."""
    return secrets.token_hex(8)


def pack_ids(nonce: str, request_no: int, items: int, how: PackIds = PackIds.DERIVED) -> list[str]:
    """The ids of a request's items in the order of their slots."""
    if how is PackIds.COUNTED:
        return [str(slot) for slot in range(1, items + 1)]
    return [_derived(f"{nonce}-{request_no}-{slot}") for slot in range(items)]


def _derived(place: str) -> str:
    digest = hashlib.blake2b(place.encode(), digest_size=DIGEST_BYTES).digest()
    return base64.b32encode(digest).decode().lower()
