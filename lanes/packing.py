"""Which items share one provider call."""

from collections.abc import Sequence

from lanes.claims import Claimed
from lanes.words import Purpose


def packs(claimed: Sequence[Claimed], size: int) -> list[list[Claimed]]:
    """Calls of up to `size` items each, in order. What failed once, or spoiled a pack, travels alone.

    One call never mixes versions, and never purposes: the ledger books it under one of each.
    """
    full: list[list[Claimed]] = []
    filling: dict[tuple[int, Purpose], list[Claimed]] = {}
    for each in claimed:
        if each.travels_alone or size == 1:
            full.append([each])
            continue
        kind = (each.version_id, each.purpose)
        pack = filling.get(kind)
        if pack is None or len(pack) >= size:
            pack = filling[kind] = []
            full.append(pack)
        pack.append(each)
    return full
