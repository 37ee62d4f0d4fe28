"""The charts of the report, each a Markdown image whose description says the same figures."""

from collections.abc import Sequence
from datetime import timedelta

from lanes.report import summary
from lanes.report.charts import BATCH, NEUTRAL, REALTIME, Bar, Group, Series, bars, data_uri, lines
from lanes.report.figures import BatchFigures, CostFigures, LaneFigures, RouteFigures
from lanes.report.snapshot import Snapshot
from lanes.report.summary import lane_name, title_of, way_name
from lanes.units import count, counted, rate, seconds, share, usd
from lanes.words import Lane

ROUTING_CHART = "Blue went to real time, green to batch."
LATENCY_CHART = "p95: 95 % of the answers came within this time of their item being received."
LATENCY_BARS = "p50, p95, p99: 50 %, 95 % and 99 % of the answers came within this time of their item being received."
BATCH_CHART = "Items per minute from submitted to ended; in brackets, to collected."
NEAR = 0.05  # of the longest bar: a workload below it gets its own scale
MOST_WORKLOADS = 4  # in one chart
MOST_REASONS = 8  # of a workload: the least frequent of more are one bar
POINTS = {timedelta(minutes=1): "minute", timedelta(hours=1): "hour", timedelta(days=1): "day"}
COLORS = {Lane.REALTIME: REALTIME, Lane.BATCH: BATCH}


def routing(snapshot: Snapshot, _: int = 0) -> str:
    """Draw how the decisions of each workload divide among lanes and reasons."""
    groups = [
        _decisions(name, [each for each in snapshot.routes if each.workload == name])
        for name in {each.workload: None for each in snapshot.routes}
    ]
    groups.sort(key=lambda each: -sum(bar.value for bar in each.bars))
    chart = bars(groups[:MOST_WORKLOADS], same_scale=False)
    described = _described(groups[:MOST_WORKLOADS])
    return _drawn(chart, f"Routing mix. {described}", ROUTING_CHART, _largest_only(len(groups)))


def costs(snapshot: Snapshot) -> str:
    """Draw what was paid beside what each lane alone would have cost, all workloads first where there are several."""
    total = [summary.total_costs(snapshot)] if len(snapshot.costs) > 1 else []
    dearest = sorted(snapshot.costs, key=lambda each: -each.all_realtime_usd)[:MOST_WORKLOADS]
    groups = [Group(each.workload, _amounts(each)) for each in [*total, *dearest]]
    longest = [max(bar.value for bar in each.bars) for each in groups]
    same_scale = min(longest, default=0) >= NEAR * max(longest, default=0)
    chart = bars(groups, same_scale=same_scale, empty="Nothing was received in this period.")
    scales = "" if same_scale else "Each workload has its own scale."
    return _drawn(chart, f"Cost. {_described(groups)}", scales, _largest_only(len(snapshot.costs)))


def latency(snapshot: Snapshot) -> str:
    """Draw each lane's p95 over time; the percentiles of each lane where answers span less than two minutes."""
    series = [_minutes(snapshot, lane) for lane in (Lane.REALTIME, Lane.BATCH)]
    if any(len(each.points) > 1 for each in series):
        drawn = [each for each in series if each.points]
        peaks = {each.heading: max(value for _, value in each.points) for each in drawn}
        highest = "; ".join(f"{name}: at most {seconds(peak)}" for name, peak in peaks.items())
        return _drawn(lines(series, step=snapshot.point), f"Latency. {highest}", LATENCY_CHART)
    answered = [each for each in snapshot.lanes if each.p50_s is not None][: 2 * MOST_WORKLOADS]
    groups = [Group(title_of(each), _percentiles(each)) for each in answered]
    chart = bars(groups, same_scale=False, empty="Nothing was answered in this period.")
    scales = "Each lane has its own scale." if len(groups) > 1 else ""
    return _drawn(chart, f"Latency. {_described(groups)}", LATENCY_BARS, scales)


def throughput(snapshot: Snapshot, most: int) -> str:
    """Draw the items a minute of each batch that ended, the newest first, by workload."""
    batches = snapshot.batches[:most]
    groups = by_batch(batches)
    alone = all(len(each.bars) == 1 for each in groups)
    chart = bars(groups, same_scale=alone, empty="None of these batches has ended.")
    scales = "" if alone or len(groups) == 1 else "Each workload has its own scale."
    described = f"Throughput, items a minute. {_described(groups)}"
    return _drawn(chart, described, BATCH_CHART, scales)


def by_batch(batches: Sequence[BatchFigures]) -> list[Group]:
    """Return a bar for each batch that ended, grouped by workload: items a minute."""
    ended = [each for each in batches if each.items_per_minute_until_ended is not None]
    by_workload: dict[str, list[Bar]] = {}
    for each in ended:
        by_workload.setdefault(each.workload, []).append(_throughput(each))
    return [Group(name, shown) for name, shown in by_workload.items()]


def _amounts(costs: CostFigures) -> list[Bar]:
    amounts = (
        ("actual", costs.actual_usd, NEUTRAL),
        ("all real-time", costs.all_realtime_usd, REALTIME),
        ("all batch", costs.all_batch_usd, BATCH),
    )
    return [Bar(name, float(amount), usd(amount), color) for name, amount, color in amounts]


def _decisions(workload: str, routes: Sequence[RouteFigures]) -> Group:
    """Return a bar for each lane and reason, the most frequent first; those of more reasons are one."""
    whole = sum(each.items for each in routes)
    ordered = sorted(routes, key=lambda each: (each.lane == Lane.BATCH, -each.items))
    parts = [(way_name(each.lane, each.reason), each.items, COLORS[each.lane]) for each in ordered]
    if len(parts) > MOST_REASONS:
        parts.sort(key=lambda part: -part[1])
        rest = sum(items for _, items, _ in parts[MOST_REASONS - 1 :])
        parts[MOST_REASONS - 1 :] = [("other reasons", rest, NEUTRAL)]
    shown = [
        Bar(label, items, f"{count(items)} ({share(items / whole if whole else 0)})", color)
        for label, items, color in parts
    ]
    return Group(f"{workload}: {counted(whole, 'decision')}", shown)


def _minutes(snapshot: Snapshot, lane: Lane) -> Series:
    minutes = [each for each in snapshot.minutes if each.lane == lane]
    points = sorted((each.minute, float(each.p95_s)) for each in minutes)
    return Series(f"{lane_name(lane)}, p95 of each {POINTS[snapshot.point]}", points, COLORS[lane])


def _throughput(batch: BatchFigures) -> Bar:
    per_minute = batch.items_per_minute_until_ended or 0.0
    home = batch.items_per_minute_until_collected
    shown = rate(per_minute) + ("" if home is None else f" ({rate(home)})")
    return Bar(f"#{batch.batch_id}, {counted(batch.items, 'item')}", per_minute, shown, BATCH)


def _percentiles(lane: LaneFigures) -> list[Bar]:
    known = (("p50", lane.p50_s), ("p95", lane.p95_s), ("p99", lane.p99_s))
    return [
        Bar(name, float(value), seconds(value), COLORS[Lane(lane.lane)])
        for name, value in known
        if value is not None
    ]


def _described(groups: Sequence[Group]) -> str:
    def of(group: Group) -> str:
        return f"{group.heading}: " + ", ".join(f"{bar.label} {bar.shown}" for bar in group.bars)

    return "; ".join(map(of, groups))


def _largest_only(workloads: int) -> str:
    if workloads > MOST_WORKLOADS:
        return f"The {MOST_WORKLOADS} largest of {workloads} workloads."
    return ""


def _drawn(chart: str, described: str, *sentences: str) -> str:
    """Return a chart as an image with its description, and the sentences below it in one paragraph."""
    said = " ".join(filter(None, sentences))
    return data_uri(chart, described) + (f"\n\n{said}" if said else "")
