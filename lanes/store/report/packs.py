"""Reads how many items share a call on each lane, and what was compared since that was decided."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from lanes.ids import VersionId
from lanes.money.pack_size import Decided, Evidence, Place, total
from lanes.report.packs import PackFigures
from lanes.store.asking import Ask
from lanes.store.money import pack_sizes
from lanes.words import Lane

VERSIONS = """
select w.name as workload, v.id, v.realtime_model, v.batch_model
  from lanes.workload w join lanes.version v on v.id = w.version_id order by w.name
"""


def sizes(
    ask: Ask, checks_usd: Mapping[tuple[str, Lane], Decimal], *, now: datetime
) -> list[PackFigures]:
    """Of each lane where something was decided, or compared, or paid for it."""
    last = pack_sizes.decided(ask)
    places = [
        (
            VersionId(row.id),
            Place(
                row.workload, lane, row.realtime_model if lane is Lane.REALTIME else row.batch_model
            ),
        )
        for row in ask(VERSIONS)
        for lane in Lane
    ]
    known = pack_sizes.evidence(ask, places, last, now=now)
    found: list[PackFigures] = []
    for id_, place in places:
        of, seen, usd = (
            last.get(place),
            known[id_, place.lane],
            checks_usd.get((place.workload, place.lane), Decimal(0)),
        )
        if of is not None or seen.packed or usd:
            found.append(_figures(place, of, seen, usd))
    return found


def _figures(
    place: Place, last: Decided | None, seen: Evidence, checks_usd: Decimal
) -> PackFigures:
    size, allowed, since, why = (
        (last.size, last.allowed, last.decided_at, last.why) if last else (None, None, None, "")
    )
    return PackFigures(
        place.workload,
        place.lane,
        size,
        allowed,
        total(seen.packed.values()),
        seen.alone,
        since,
        why,
        checks_usd,
    )
