"""Every item gets an answer, and every provisional one its authoritative pass."""

from dataclasses import dataclass
from datetime import timedelta

from lanes.promises.assessment import NOWHERE, REALTIME, Assessment
from lanes.promises.incident import Promise
from lanes.text import remove_quotes
from lanes.units import counted
from lanes.words import Verdict

SETTLED_FOR = timedelta(hours=1)  # how long a failed authoritative pass is news
FAILED_FOR = timedelta(hours=24)  # how long failed items are news


@dataclass(frozen=True)
class ItemsSeen:
    """How many items of a workload met something lately, with the key and the reason of the newest of them.

    `unanswered` of them were given up because they could not be answered for too long.
    """

    workload: str
    items: int
    key: str
    reason: str
    unanswered: int = 0


def authoritative_failed(name: str, seen: ItemsSeen | None) -> Assessment:
    """By the items that keep a provisional answer; None: there are none."""
    if seen is None:
        said = "No authoritative pass has failed for good in the last hour."
        return Assessment(Promise.AUTHORITATIVE_FAILED, name, Verdict.PASSED, 0, 0, 0, said)
    keeps = "keeps its" if seen.items == 1 else "keep their"
    said = (
        f"{counted(seen.items, 'item')} of the last hour {keeps} provisional answer because the authoritative pass "
        f'failed for good. The newest is "{seen.key}": {remove_quotes(seen.reason)}'
    )
    return Assessment(
        Promise.AUTHORITATIVE_FAILED, name, Verdict.FAILED, seen.items, 0, seen.items, said
    )


def items_failed(name: str, seen: ItemsSeen | None) -> Assessment:
    """By the items that failed for good; None: there are none."""
    if seen is None:
        said = "No item that failed within the last 24 hours is still without an answer."
        return Assessment(Promise.ITEMS_FAILED, name, Verdict.PASSED, 0, 0, 0, said)
    said = (
        f"{counted(seen.items, 'item')} failed within the last 24 hours; `lanes retry {name} --all` tries "
        f'{"it" if seen.items == 1 else "them"} again. The newest is "{seen.key}": {remove_quotes(seen.reason)}'
    )
    standstill = REALTIME if seen.unanswered == seen.items else NOWHERE
    return Assessment(
        Promise.ITEMS_FAILED,
        name,
        Verdict.FAILED,
        seen.items,
        0,
        seen.items,
        said,
        standstill=standstill,
    )
