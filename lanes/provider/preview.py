"""What an item would ask and cost, and its route, before it is sent; the real code builds the requests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from lanes.money.cost import prompt_tokens
from lanes.money.estimates import Estimates
from lanes.packing import history_chars
from lanes.provider.requests import Question, parameters
from lanes.routing.forecast import LaneConditions
from lanes.routing.route import ArrivedItem, Route, decide
from lanes.routing.split import BUCKETS, Splits
from lanes.units import counted
from lanes.words import Lane, Reason
from lanes.workload.context import CUT, ContextPart, ContextTag, part_chars
from lanes.workload.version import Version


@dataclass(frozen=True)
class Asked:
    """A lane's request for the item alone.

    Tokens and price are routing's estimates for its part of a full pack of `pack` items, with the history that a batch reads.
    """

    lane: Lane
    model: str
    request: dict[str, Any]
    pack: int
    input_tokens: int
    output_tokens: int
    usd: Decimal


@dataclass(frozen=True)
class ItemPreview:
    """The route that the item would get if it arrived now, and what each lane would ask."""

    route: Route
    lanes: tuple[Asked, ...]
    notes: tuple[str, ...]


def preview(
    item: ArrivedItem,
    version: Version,
    lanes: LaneConditions,
    *,
    keyed: bool,
    payload_bytes: int,
    context: Sequence[ContextPart],
    now: datetime,
) -> ItemPreview:
    """Return what the item would ask and cost: `item` and `context` are as the database would hold them, oldest first.

    `keyed` says that the sender named the item. Budgets and the load of real time are left out.

    Raises:
        LookupError: no price is known for one of its models.
    """
    history = [part_chars(each) for each in context if each.part is ContextTag.HISTORY]
    item = item._replace(earlier=tuple(reversed(history)))
    estimates = Estimates(now, lanes.sharing)
    route = decide(
        item, version, lanes.splits, now=now, estimates=estimates, prospects=lanes.prospects
    )
    packs = {lane: lanes.sharing.pack_of(version, lane) for lane in Lane}
    read = {Lane.REALTIME: (), Lane.BATCH: tuple(context)}
    told = {
        Lane.REALTIME: 0,
        Lane.BATCH: history_chars(history) + version.spec.context.reference_chars,
    }
    costs = {Lane.REALTIME: route.realtime_usd, Lane.BATCH: route.batch_usd}
    asked = tuple(
        Asked(
            lane=lane,
            model=version.spec.model_of(lane),
            request=parameters(version, lane, [Question("1", dict(item.payload), read[lane])]),
            pack=packs[lane],
            input_tokens=round(
                prompt_tokens(version.spec, packs[lane], item.characters, told[lane])
            ),
            output_tokens=version.spec.expected_output_tokens,
            usd=costs[lane],
        )
        for lane in Lane
    )
    notes = [
        *_of_size(version, payload_bytes),
        *_of_route(item, version, route, lanes.splits, keyed=keyed, now=now),
        *(
            f"on the {lane} lane up to {pack} items share a request, each within <item>; below it is alone"
            for lane, pack in packs.items()
            if pack > 1
        ),
    ]
    if history:
        seen = counted(len(history), "earlier item")
        notes.append(f"a batch also sees {seen} of its entity, which its estimates count")
    for of, part in zip(version.spec.context.reference, _rows(context), strict=True):
        cut = "; what is beyond rows or bytes is cut" if part.said.endswith(CUT) else ""
        notes.append(
            f'a batch also sees rows of {of.relation} as "{of.name}", of which its estimates count {of.bytes:,} bytes{cut}'
        )
    return ItemPreview(route, asked, tuple(notes))


def _rows(context: Sequence[ContextPart]) -> list[ContextPart]:
    return [each for each in context if each.part is ContextTag.REFERENCE]


def _of_size(version: Version, payload_bytes: int) -> Iterator[str]:
    most = version.spec.max_payload_kib
    if payload_bytes > most * 1024:
        yield f"the door would refuse it: {payload_bytes:,} bytes, and max_payload_kib takes {most} KiB"


def _of_route(
    item: ArrivedItem, version: Version, route: Route, splits: Splits, *, keyed: bool, now: datetime
) -> Iterator[str]:
    if route.lane is Lane.BATCH:
        window = version.spec.window
        leaves = window.next_departure(now).astimezone(window.zone)
        yield f"its batch leaves on {leaves:%Y-%m-%d at %H:%M} ({window.zone.key}), or earlier for a deadline"
    share = splits.of(item.workload, item.consumer).basis_points
    if route.reason is Reason.SPLIT and not keyed and item.entity is None and 0 < share < BUCKETS:
        yield "it has no key: which side of the split it falls on is known only once it is sent"
