"""The current pack sizes of calls, cached for half a minute, and the decisions about them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lanes.ids import VersionId
from lanes.money.estimates import Estimates, Sharing
from lanes.money.pack_size import (
    PackDecision,
    PackEvidence,
    PackHarm,
    PackPlace,
    PackSizes,
    decide,
    most_items,
)
from lanes.statistics.shares import NOTHING, SampleShare
from lanes.store import asking
from lanes.store.asking import Ask, KeptReading
from lanes.store.money import caching
from lanes.words import Lane

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lanes.workload.version import Version

KEPT = KeptReading[Sharing](timedelta(seconds=30))


def estimates(connection: "Connection", *, now: datetime) -> Estimates:
    """Return the estimates at the prices of the day of `now`, with the current sharing of calls."""
    return Estimates(now, read_cached(connection, now=now))


def read_cached(connection: "Connection", *, now: datetime) -> Sharing:
    """Return the current sharing of calls, at most half a minute old."""
    return KEPT.get(connection, _read, now=now)


def _read(ask: Ask) -> Sharing:
    passes = {VersionId(row.version_id): row.share for row in ask(PASSES)}
    return Sharing(PackSizes(read_in_force(ask)), caching.hit_rates(ask), passes)


BACK_TO = timedelta(days=28)  # older comparisons say nothing about the model's present behaviour
MOST = 2_000  # newest comparisons of each kind: more would hardly narrow the bounds
PASSES = "select version_id, share from lanes.second_pass"
REMEMBERED = timedelta(days=90)  # for how long harm by a pack size counts

IN_FORCE = """
select distinct on (workload, lane, model) workload, lane, model, size, allowed, hurt, packed_n, packed_agreed, alone_n,
       alone_agreed, why, decided_at
  from lanes.pack_size order by workload, lane, model, id desc
"""

HURTS = """
select workload, lane, model, hurt, count(*)::int as times, max(decided_at) as last_at
  from lanes.pack_size where hurt is not null and decided_at >= :since group by 1, 2, 3, 4
"""

# The newest comparisons of each version and lane since its own moment: of packed items, by the size of their packs, and
# (pack 0) of items that were asked alone twice.
COMPARED = f"""
select a.version_id, a.lane, s.pack, count(*)::int as n, (count(*) filter (where s.agrees))::int as agreed
  from unnest(cast(:versions as bigint[]), cast(:lanes as text[]), cast(:since as timestamptz[])) a (version_id, lane, since)
 cross join lateral (
   (select c.pack, c.agrees from lanes.pack_check c
     where c.version_id = a.version_id and c.lane = a.lane and c.compared_at is not null and c.compared_at >= a.since
     order by c.compared_at desc limit {MOST})
   union all
   (select 0, c.repeats from lanes.pack_check c
     where c.version_id = a.version_id and c.lane = a.lane and c.repeated_at is not null and c.repeated_at >= :back_to
     order by c.repeated_at desc limit {MOST})) s
 group by 1, 2, 3
"""


def read_pack_sizes(connection: "Connection") -> dict[PackPlace, PackDecision]:
    """Return the last decision of each workload, lane and model."""
    return read_in_force(asking.through(connection))


def read_in_force(ask: Ask) -> dict[PackPlace, PackDecision]:
    """Return the last decision of each workload, lane and model, through any `Ask`."""
    return {
        _place(row): PackDecision(
            row.size,
            row.allowed,
            row.decided_at,
            row.why,
            row.hurt,
            SampleShare(row.packed_agreed, row.packed_n),
            SampleShare(row.alone_agreed, row.alone_n),
        )
        for row in ask(IN_FORCE)
    }


def evidence(
    ask: Ask,
    places: Sequence[tuple[VersionId, PackPlace]],
    last: Mapping[PackPlace, PackDecision],
    *,
    now: datetime,
) -> dict[tuple[VersionId, Lane], PackEvidence]:
    """Return the comparisons on these lanes within 28 days; those of packed items only since their lane's `last` decision."""
    oldest = now - BACK_TO
    given = {
        "versions": [id_ for id_, _ in places],
        "lanes": [place.lane.value for _, place in places],
        "since": [
            max(oldest, last[place].decided_at) if place in last else oldest for _, place in places
        ],
        "back_to": oldest,
    }
    packed: dict[tuple[VersionId, Lane], dict[int, SampleShare]] = {}
    alone: dict[tuple[VersionId, Lane], SampleShare] = {}
    for row in ask(COMPARED, **given) if places else ():
        key, share = (VersionId(row.version_id), Lane(row.lane)), SampleShare(row.agreed, row.n)
        if row.pack:
            packed.setdefault(key, {})[row.pack] = share
        else:
            alone[key] = share
    keys = [(id_, place.lane) for id_, place in places]
    return {key: PackEvidence(packed.get(key, {}), alone.get(key, NOTHING)) for key in keys}


def decide_all(
    connection: "Connection", versions: "Iterable[Version]", *, now: datetime
) -> list[PackDecision]:
    """Decide pack sizes again where the evidence suffices; return the new decisions."""
    ask = asking.through(connection)
    last = read_in_force(ask)
    may_share = [
        (version, PackPlace.of(version, lane), most)
        for version in versions
        for lane in Lane
        if (most := most_items(version.spec, lane)) > 1
    ]
    known = evidence(ask, [(version.id, place) for version, place, _ in may_share], last, now=now)
    hurts = _read_harms(ask, now)
    made: list[PackDecision] = []
    for version, place, most in may_share:
        hurt = hurts.get(place, {})
        new = decide(last.get(place), most, known[version.id, place.lane], hurt, now=now)
        if new is not None:
            _write(connection, version.id, place, new)
            made.append(new)
    return made


def _read_harms(ask: Ask, now: datetime) -> dict[PackPlace, dict[int, PackHarm]]:
    found: dict[PackPlace, dict[int, PackHarm]] = {}
    for row in ask(HURTS, since=now - REMEMBERED):
        found.setdefault(_place(row), {})[row.hurt] = PackHarm(row.times, row.last_at)
    return found


def _write(
    connection: "Connection", version_id: VersionId, pack_place: PackPlace, new: PackDecision
) -> None:
    from sqlalchemy import insert  # not needed by callers that only read decisions

    from lanes.store.tables import pack_size

    own = {name: getattr(new, name) for name in ("size", "allowed", "hurt", "why", "decided_at")}
    packed = {"packed_n": new.packed.samples, "packed_agreed": new.packed.hits}
    alone = {"alone_n": new.alone.samples, "alone_agreed": new.alone.hits}
    place = {
        "workload": pack_place.workload,
        "version_id": version_id,
        "lane": pack_place.lane,
        "model": pack_place.model,
    }
    connection.execute(insert(pack_size).values(**place, **own, **packed, **alone))


def _place(row: Any) -> PackPlace:
    return PackPlace(row.workload, Lane(row.lane), row.model)
