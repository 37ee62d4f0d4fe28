"""The charts of the report, each a Markdown image whose description says the same figures."""

from collections.abc import Sequence
from datetime import timedelta

from lanes.report import legends, summary
from lanes.report.charts import (
    BATCH,
    BATCH_SHADES,
    NEUTRAL,
    REALTIME,
    REALTIME_SHADES,
    Bar,
    Group,
    Mix,
    Segment,
    bars,
    data_uri,
    mix,
)
from lanes.report.figures import BatchFigures, CostFigures, LaneFigures, RouteFigures
from lanes.report.linechart import Series, lines
from lanes.report.snapshot import Snapshot
from lanes.units import count, counted, rate, seconds, share, usd
from lanes.words import Lane

MOST_WORKLOADS = 4  # in one chart
MOST_REASONS = 6  # of a lane in a bar: the least frequent of more are one part
POINTS = {timedelta(minutes=1): "minute", timedelta(hours=1): "hour", timedelta(days=1): "day"}
COLORS = {Lane.REALTIME: REALTIME, Lane.BATCH: BATCH}
SHADES = {Lane.REALTIME: REALTIME_SHADES, Lane.BATCH: BATCH_SHADES}


def routing(snapshot: Snapshot) -> str:
    """For each workload, how its decisions divide among lanes and reasons; blue is real-time, green is batch."""
    workloads = sorted({each.workload for each in snapshot.routes})
    mixes = [
        _mix(name, [each for each in snapshot.routes if each.workload == name])
        for name in workloads
    ]
    mixes.sort(key=lambda each: -sum(segment.value for segment in each.segments))
    shown = mixes[:MOST_WORKLOADS]
    described = "; ".join(
        f"{each.heading}: " + ", ".join(f"{part.label} {part.shown}" for part in each.segments)
        for each in shown
    )
    chart = mix(shown, empty="Nothing was routed in this period.")
    return data_uri(chart, f"Routing mix. {described}") + _below(
        legends.ROUTING_CHART, _largest_only(len(mixes))
    )


def costs(snapshot: Snapshot) -> str:
    """What was paid beside what each lane alone would have cost, all workloads first when there are several."""
    several = len(snapshot.costs) > 1
    charted = [
        *([summary.total_costs(snapshot)] if several else []),
        *by_cost(snapshot)[:MOST_WORKLOADS],
    ]
    groups = [
        Group(
            each.workload,
            [
                Bar("actual", float(each.actual_usd), usd(each.actual_usd), NEUTRAL),
                Bar(
                    "all real-time",
                    float(each.all_realtime_usd),
                    usd(each.all_realtime_usd),
                    REALTIME,
                ),
                Bar("all batch", float(each.all_batch_usd), usd(each.all_batch_usd), BATCH),
            ],
        )
        for each in charted
    ]
    chart = bars(groups, empty="Nothing was received in this period.")
    return data_uri(chart, f"Cost. {_described(groups)}") + _below(
        _largest_only(len(snapshot.costs))
    )


def latency(snapshot: Snapshot) -> str:
    """Each lane's p95 over time; with less than two minutes of answers, the percentiles of each lane."""
    series = [_minutes(snapshot, lane) for lane in (Lane.REALTIME, Lane.BATCH)]
    if any(len(each.points) > 1 for each in series):
        highest = "; ".join(
            f"{each.heading}: at most {seconds(max(value for _, value in each.points))}"
            for each in series
            if each.points
        )
        return data_uri(lines(series, step=snapshot.point), f"Latency. {highest}") + _below(
            legends.LATENCY_CHART
        )
    answered = [each for each in snapshot.lanes if each.p50_s is not None][: 2 * MOST_WORKLOADS]
    groups = [Group(summary.title_of(each), _percentiles(each)) for each in answered]
    chart = bars(groups, same_scale=False, empty="Nothing was answered in this period.")
    scales = "Each lane has a scale of its own." if len(groups) > 1 else ""
    return data_uri(chart, f"Latency. {_described(groups)}") + _below(legends.LATENCY_BARS, scales)


def throughput(batches: Sequence[BatchFigures]) -> str:
    """Items a minute of each batch that ended, the newest first, beside the others of its workload; empty without batches.

    Where no workload has several, they are beside each other.
    """
    if not batches:
        return ""
    groups = by_batch(batches)
    alone = all(len(each.bars) == 1 for each in groups)
    chart = bars(groups, same_scale=alone, empty="None of these batches has ended.")
    scales = "" if alone or len(groups) == 1 else "Each workload has a scale of its own."
    return data_uri(chart, f"Throughput, items a minute. {_described(groups)}") + _below(
        legends.BATCH_CHART, scales
    )


def by_batch(batches: Sequence[BatchFigures]) -> list[Group]:
    """A bar for each batch that ended, grouped by workload: items a minute until then, in brackets until it was collected."""
    ended = [each for each in batches if each.items_per_minute_until_ended is not None]
    workloads = dict.fromkeys(each.workload for each in ended)
    return [
        Group(name, [_throughput(each) for each in ended if each.workload == name])
        for name in workloads
    ]


def by_cost(snapshot: Snapshot) -> list[CostFigures]:
    """The workloads' costs, the dearest on the real-time lane first."""
    return sorted(snapshot.costs, key=lambda each: -each.all_realtime_usd)


def _mix(workload: str, routes: Sequence[RouteFigures]) -> Mix:
    whole = sum(each.items for each in routes)
    segments = []
    for lane in (Lane.REALTIME, Lane.BATCH):
        of_lane = sorted(
            (each for each in routes if each.lane == lane), key=lambda each: -each.items
        )
        parts = [(summary.reason_name(each.reason), each.items) for each in of_lane]
        if len(parts) > MOST_REASONS:
            parts[MOST_REASONS - 1 :] = [
                ("other reasons", sum(items for _, items in parts[MOST_REASONS - 1 :]))
            ]
        for place, (reason, items) in enumerate(parts):
            label = f"{summary.lane_name(lane)}, {reason}"
            shown = f"{count(items)} ({share(items / whole if whole else 0)})"
            segments.append(Segment(label, items, shown, SHADES[lane][place % len(SHADES[lane])]))
    return Mix(f"{workload}: {counted(whole, 'decision')}", segments)


def _minutes(snapshot: Snapshot, lane: Lane) -> Series:
    minutes = sorted(
        (each for each in snapshot.minutes if each.lane == lane), key=lambda each: each.minute
    )
    points = [(each.minute, float(each.p95_s)) for each in minutes]
    return Series(
        f"{summary.lane_name(lane)}, p95 of each {POINTS[snapshot.point]}", points, COLORS[lane]
    )


def _throughput(batch: BatchFigures) -> Bar:
    per_minute, home = (
        batch.items_per_minute_until_ended or 0.0,
        batch.items_per_minute_until_collected,
    )
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
    return "; ".join(
        f"{group.heading}: " + ", ".join(f"{bar.label} {bar.shown}" for bar in group.bars)
        for group in groups
    )


def _largest_only(workloads: int) -> str:
    return (
        f"The {MOST_WORKLOADS} largest of {workloads} workloads."
        if workloads > MOST_WORKLOADS
        else ""
    )


def _below(*sentences: str) -> str:
    """A paragraph below a chart; none where there is nothing to say."""
    said = " ".join(filter(None, sentences))
    return f"\n\n{said}" if said else ""
