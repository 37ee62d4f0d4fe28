"""Which items share one provider call."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from lanes.claims import Claimed
from lanes.ids import VersionId
from lanes.words import Purpose


def packs(claimed: Sequence[Claimed], size: int) -> list[list[Claimed]]:
    """Calls of up to `size` items each, in order. What failed once, or spoiled a pack, travels alone.

    One call never mixes versions, and never purposes: the ledger books it under one of each.
    """
    full: list[list[Claimed]] = []
    filling: dict[tuple[VersionId, Purpose], list[Claimed]] = {}
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


def filled(claimed: Iterable[Claimed], size: int) -> Iterator[list[Claimed]]:
    """The same calls, each as soon as it is full, so that no more is held than those that are not; these come last."""
    filling: dict[tuple[VersionId, Purpose], list[Claimed]] = {}
    for each in claimed:
        if each.travels_alone or size == 1:
            yield [each]
            continue
        pack = filling.setdefault((each.version_id, each.purpose), [])
        pack.append(each)
        if len(pack) == size:
            del filling[each.version_id, each.purpose]
            yield pack
    yield from filling.values()


def told_apart(packs: Sequence[Sequence[Claimed]], taken: Collection[int]) -> list[list[Claimed]]:
    """The packs, in a number that is none of the counts in `taken`; empty when there is no such number.

    The last ones are left for the next batch, as few as possible. Where every smaller number is taken too, packs are
    divided, the fullest first, and all are kept.
    """
    whole = [list(pack) for pack in packs]
    fewer = next((count for count in range(len(whole), 0, -1) if count not in taken), 0)
    if fewer:
        return whole[:fewer]
    more = next((count for count in range(len(whole) + 1, sum(map(len, whole)) + 1) if count not in taken), None)
    if more is None:
        return []
    while len(whole) < more:
        fullest = max(range(len(whole)), key=lambda place: len(whole[place]))
        half = len(whole[fullest]) // 2
        whole[fullest : fullest + 1] = [whole[fullest][:half], whole[fullest][half:]]
    return whole
