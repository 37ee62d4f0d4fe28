"""What a run came to, in a handful of sentences that stand before the tables. Pure."""

from lanes.report import summary
from lanes.report.snapshot import Snapshot
from lanes.units import count, counted, ratio, seconds, usd
from lanes.words import Lane


def sentences(snapshot: Snapshot) -> list[str]:
    """Lanes, sharing, corrections, due times, rescues and cost, each where there is something to say of it."""
    parts = (_lanes, _shared, _corrected, _due, _rescued, _saved)
    return [sentence for part in parts for sentence in part(snapshot)]


def _lanes(snapshot: Snapshot) -> list[str]:
    def of(lane: Lane, how: str) -> str | None:
        there = [each for each in snapshot.lanes if each.lane == lane and each.answered]
        halves = [each.p50_s for each in there if each.p50_s is not None]
        if not halves:
            return None
        low, high = seconds(min(halves)), seconds(max(halves))
        span = low if low == high else f"{low} to {high}, by workload"
        return f"{counted(sum(each.answered for each in there), 'item')} {how}, half of them within {span}."

    told = of(Lane.REALTIME, "answered in real time"), of(Lane.BATCH, "answered in batches")
    return [each for each in told if each]


def _shared(snapshot: Snapshot) -> list[str]:
    return [
        f"{counted(each.items, 'item')} of {each.workload} shared calls, {ratio(each.items_per_call)} to each."
        for each in snapshot.windows
        if each.items_per_call > 1
    ]


def _corrected(snapshot: Snapshot) -> list[str]:
    return [
        f"{count(each.corrected)} of {count(each.compared)} early answers of {each.workload} were corrected by a batch."
        for each in snapshot.agreement
        if each.corrected
    ]


def _due(snapshot: Snapshot) -> list[str]:
    met = sum(each.met for each in snapshot.deadlines)
    all_due = met + sum(each.missed + each.overdue for each in snapshot.deadlines)
    return [f"{count(met)} of {counted(all_due, 'due item')} answered in time."] if all_due else []


def _rescued(snapshot: Snapshot) -> list[str]:
    return [
        f"{counted(each.items, 'item')} of {each.workload} rescued by real time from a late batch; {count(each.met)} in time."
        for each in snapshot.rescues
        if each.items
    ]


def _saved(snapshot: Snapshot) -> list[str]:
    costs, saving = summary.total_costs(snapshot), summary.saving(snapshot)
    if saving.share is None:
        return []
    return [
        f"Cost {usd(costs.actual_usd)} in all; real time alone {usd(costs.all_realtime_usd)}: {saving}."
    ]
