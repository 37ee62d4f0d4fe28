"""Which items share one provider call."""

from collections.abc import Sequence

from lanes.claims import Claimed


def packs(claimed: Sequence[Claimed], size: int) -> list[list[Claimed]]:
    """Calls of up to `size` items each, in order. One call never mixes versions, and what failed once travels alone."""
    full: list[list[Claimed]] = []
    filling: dict[int, list[Claimed]] = {}
    for each in claimed:
        if each.failures > 0 or size == 1:
            full.append([each])
            continue
        pack = filling.get(each.version_id)
        if pack is None or len(pack) >= size:
            pack = filling[each.version_id] = []
            full.append(pack)
        pack.append(each)
    return full
