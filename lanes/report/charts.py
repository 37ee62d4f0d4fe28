"""The charts of the report: Markdown images as SVG, 690 px wide on a white card, with every value also written as text."""

import base64
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape as escape_xml
from math import floor, inf, log10

from lanes.report import summary
from lanes.report.figures import BatchFigures, CostFigures, LaneFigures, RouteFigures
from lanes.report.snapshot import Snapshot
from lanes.report.summary import lane_name, name_lane, way_name
from lanes.text import plain
from lanes.units import clock, count, pluralize, rate, seconds, share, usd
from lanes.words import Lane

WIDTH = 690
PADDING = 16
INNER = WIDTH - 2 * PADDING
ROW = 24
LEAST = 3  # px; the shortest bar of a positive value
# Px per character at font size 12; generous, so that text in an unknown font still fits.
LETTER = 6.7
INK, FAINT, RULE = "#1f2937", "#6b7280", "#e5e7eb"
REALTIME, BATCH, NEUTRAL = "#2563eb", "#047857", "#6b7280"
PANEL = 112  # px, heading included
PLOT = 64
MOST_POINTS = 100
JOINED_WITHIN = 5  # most steps between two points that a line still joins
FONT = 'font-family="Geist,Inter,system-ui,sans-serif" font-size="12"'


@dataclass(frozen=True)
class Bar:
    """A horizontal bar: `value` sets its length, `shown` is the text at its end, and a thin line spans `between`."""

    label: str
    value: float
    shown: str
    color: str = NEUTRAL
    between: tuple[float, float] | None = None

    @property
    def reach(self) -> float:
        """The largest value that is drawn."""
        return max(self.value, self.between[1]) if self.between else self.value


@dataclass(frozen=True)
class Group:
    """Bars under one heading; an empty heading is not drawn."""

    heading: str
    bars: Sequence[Bar]


def bars(groups: Sequence[Group], *, same_scale: bool = True, empty: str = "no data yet") -> str:
    """Draw horizontal bars in groups; without `same_scale` each group's longest bar fills the width."""
    if not any(group.bars for group in groups):
        return draw_empty(empty)
    every = [bar for group in groups for bar in group.bars]
    label_width = min(max(text_width(bar.label) for bar in every), 0.36 * INNER) + 12
    value_width = max(text_width(bar.shown) for bar in every) + 10
    room = max(INNER - label_width - value_width, 40)
    longest = max(bar.reach for bar in every)
    left, y, body = PADDING + label_width, PADDING, ""
    for group in groups:
        if group.heading:
            body += text(PADDING, y + 15, fit(group.heading, INNER), weight=600)
            y += ROW
        top = longest if same_scale else max((bar.reach for bar in group.bars), default=0)
        for bar in group.bars:
            width = max(room * bar.value / top, LEAST) if bar.value > 0 else 0
            body += text(PADDING, y + 15, fit(bar.label, label_width - 10))
            body += rect(left, y + 3, width, ROW - 8, bar.color)
            end = left + width
            if bar.between is not None and top > 0:
                low, end = (left + room * each / top for each in bar.between)
                body += rect(low, y + 10, max(end - low, 1), 2, INK)
            body += text(max(end, left + width) + 8, y + 15, bar.shown, weight=600)
            y += ROW
        y += 8
    return card(y - 8 + PADDING, body)


def draw_empty(sentence: str) -> str:
    """Draw a card that says why there is no chart."""
    return card(56, text(PADDING, 33, fit(sentence, INNER), fill=FAINT))


def data_uri(svg: str, alt: str) -> str:
    """Return the chart as a Markdown image, with the whole SVG in a data: URI."""
    described = "".join(char for char in plain(alt, most=300) if char not in "[]\\`<>&|!*_~")
    return f"![{described}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def card(height: float, body: str) -> str:
    """Draw a white card around `body`, readable on a light and on a dark page."""
    high = round(height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{high}" viewBox="0 0 {WIDTH} {high}">'
        f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{high - 1}" rx="8" fill="#fff" stroke="{RULE}"/>'
        f'<g fill="{INK}" {FONT}>{body}</g></svg>'
    )


def text(
    x: float, y: float, words: str, *, fill: str = "", anchor: str = "", weight: int = 0
) -> str:
    """Draw a line of text with its baseline at `y`; it is dark unless `fill` sets a color."""
    attributes = (("fill", fill), ("text-anchor", anchor), ("font-weight", weight))
    more = "".join(f' {name}="{value}"' for name, value in attributes if value)
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape_xml(plain(words))}</text>'


def rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    """Draw a filled rectangle; return an empty string if the width is not positive."""
    if width <= 0:
        return ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.0f}" rx="2" fill="{fill}"/>'


def text_width(words: str) -> float:
    """Return a generous estimate of a line's width in px at font size 12."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in plain(words))
    return LETTER * (len(plain(words)) + wide)


def fit(words: str, width: float) -> str:
    """Return the words, truncated with "..." if they are wider than `width` px."""
    words = plain(words)
    if text_width(words) <= width:
        return words
    while words and text_width(words) + 3 * LETTER > width:
        words = words[:-1]
    return words.rstrip() + "..."


@dataclass(frozen=True)
class Series:
    """A time series, ordered by time; `format_value` formats a value, by default as seconds."""

    heading: str
    points: Sequence[tuple[datetime, float]]
    color: str
    format_value: Callable[[float], str] = seconds


def lines(series: Sequence[Series], *, step: timedelta, empty: str = "no data yet") -> str:
    """Draw one panel for each series over one time axis, and join points that are at most five steps apart.

    Above 100 points a panel shows the highest value of each span, so that no peak is lost.
    """
    panels = [each for each in series if each.points]
    if not panels:
        return draw_empty(empty)
    first = min(each.points[0][0] for each in panels)
    last = max(each.points[-1][0] for each in panels)
    last = max(last, first + step)
    span = (last - first).total_seconds()
    stride = max(step.total_seconds(), span / MOST_POINTS)
    scales = [_scale(max(value for _, value in each.points)) for each in panels]
    ticks = [
        each.format_value(tick)
        for each, scale in zip(panels, scales, strict=True)
        for tick in scale
    ]
    left = PADDING + max(map(text_width, ticks)) + 10
    room = WIDTH - PADDING - 10 - left
    body = ""
    for place, (each, scale) in enumerate(zip(panels, scales, strict=True)):
        top = PADDING + place * PANEL
        floor_y = top + 28 + PLOT
        points = [
            (left + room * (at - first).total_seconds() / span, floor_y - PLOT * value / scale[-1])
            for at, value in _thin_points(each.points, first, stride)
        ]
        body += _panel_heading(each, top, beside=last)
        for tick in scale:
            body += _gridline(
                left, left + room, floor_y - PLOT * tick / scale[-1], each.format_value(tick)
            )
        body += _curve(points, each.color, bridge=JOINED_WITHIN * room * stride / span)
    height = PADDING + len(panels) * PANEL
    body += text(left, height, clock(first, beside=last), fill=FAINT)
    body += text(left + room, height, clock(last, beside=last), fill=FAINT, anchor="end")
    return card(height + PADDING, body)


def _panel_heading(series: Series, top: float, *, beside: datetime) -> str:
    peak = max(value for _, value in series.points)
    at, last = series.points[-1]
    at_last = f"{series.format_value(last)} at {clock(at, beside=beside)}, the last one"
    heading = f"{series.heading}: {at_last}; highest {series.format_value(peak)}"
    return text(PADDING, top + 11, fit(heading, WIDTH - 2 * PADDING), fill=series.color, weight=600)


def _gridline(left: float, right: float, y: float, label: str) -> str:
    line = f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{RULE}"/>'
    return line + text(left - 8, y + 4, label, fill=FAINT, anchor="end")


def _curve(points: Sequence[tuple[float, float]], color: str, *, bridge: float) -> str:
    """Draw runs of neighboring points as lines; draw dots for isolated points, and for all points if there are few."""
    runs: list[list[tuple[float, float]]] = []
    for x, y in points:
        if runs and x - runs[-1][-1][0] <= bridge:
            runs[-1].append((x, y))
        else:
            runs.append([(x, y)])
    svg = ""
    for run in runs:
        if len(run) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            svg += f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>'
        if len(run) == 1 or len(points) <= 30:
            for x, y in run:
                svg += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>'
    return svg


def _thin_points(
    points: Sequence[tuple[datetime, float]], first: datetime, stride: float
) -> list[tuple[datetime, float]]:
    highest: dict[int, tuple[datetime, float]] = {}
    for moment, value in points:
        span = floor((moment - first).total_seconds() / stride)
        if span not in highest or value > highest[span][1]:
            highest[span] = (moment, value)
    return list(highest.values())


def _scale(highest: float) -> list[float]:
    """Return the ticks zero, middle and top; the top is at least `highest` and a round number in its display unit."""
    if highest <= 0:
        return [0, 1]
    sizes = ((1, 120), (60, 7200), (3600, 172_800), (86_400, inf))
    unit = next(size for size, up_to in sizes if highest < up_to)
    power = 10 ** floor(log10(highest / unit)) * unit
    top = next((step * power for step in (1, 2, 4, 6, 8) if step * power >= highest), 10 * power)
    return [0, top / 2, top]


ROUTING_CHART = "Blue went to real time, green to batch."
LATENCY_CHART = "p95: 95 % of the answers came within this time of their item being received."
LATENCY_BARS = "p50, p95, p99: 50 %, 95 % and 99 % of the answers came within this time of their item being received."
BATCH_CHART = "Items per minute from submitted to ended; in brackets, to collected."
# Share of the longest bar; if a workload stays below it, each workload gets its own scale.
NEAR = 0.05
MOST_WORKLOADS = 4  # in one chart
MOST_REASONS = 8  # bars of a workload; the least frequent of more reasons share one bar
POINTS = {timedelta(minutes=1): "minute", timedelta(hours=1): "hour", timedelta(days=1): "day"}
COLORS = {Lane.REALTIME: REALTIME, Lane.BATCH: BATCH}


def draw_routing(snapshot: Snapshot, _: int = 0) -> str:
    """Draw each workload's routing decisions by lane and reason."""
    groups = [
        _decisions(name, [each for each in snapshot.routes if each.workload == name])
        for name in {each.workload: None for each in snapshot.routes}
    ]
    groups.sort(key=lambda each: -sum(bar.value for bar in each.bars))
    chart = bars(groups[:MOST_WORKLOADS], same_scale=False)
    described = _describe_groups(groups[:MOST_WORKLOADS])
    return _render_chart(
        chart, f"Routing mix. {described}", ROUTING_CHART, _largest_only(len(groups))
    )


def costs(snapshot: Snapshot) -> str:
    """Draw the actual cost next to the cost on each lane alone; with several workloads, their total comes first."""
    total = [summary.total_costs(snapshot)] if len(snapshot.costs) > 1 else []
    dearest = sorted(snapshot.costs, key=lambda each: -each.all_realtime_usd)[:MOST_WORKLOADS]
    groups = [Group(each.workload, _amounts(each)) for each in [*total, *dearest]]
    longest = [max(bar.value for bar in each.bars) for each in groups]
    same_scale = min(longest, default=0) >= NEAR * max(longest, default=0)
    chart = bars(groups, same_scale=same_scale, empty="Nothing was received in this period.")
    scales = "" if same_scale else "Each workload has its own scale."
    return _render_chart(
        chart, f"Cost. {_describe_groups(groups)}", scales, _largest_only(len(snapshot.costs))
    )


def latency(snapshot: Snapshot) -> str:
    """Draw each lane's p95 over time; if no lane has two points, draw the percentiles of each lane instead."""
    series = [_minutes(snapshot, lane) for lane in (Lane.REALTIME, Lane.BATCH)]
    if any(len(each.points) > 1 for each in series):
        drawn = [each for each in series if each.points]
        peaks = {each.heading: max(value for _, value in each.points) for each in drawn}
        highest = "; ".join(f"{name}: at most {seconds(peak)}" for name, peak in peaks.items())
        return _render_chart(
            lines(series, step=snapshot.point), f"Latency. {highest}", LATENCY_CHART
        )
    answered = [each for each in snapshot.lanes if each.p50_s is not None][: 2 * MOST_WORKLOADS]
    groups = [Group(name_lane(each), _percentiles(each)) for each in answered]
    chart = bars(groups, same_scale=False, empty="Nothing was answered in this period.")
    scales = "Each lane has its own scale." if len(groups) > 1 else ""
    return _render_chart(chart, f"Latency. {_describe_groups(groups)}", LATENCY_BARS, scales)


def throughput(snapshot: Snapshot, most: int) -> str:
    """Draw the items per minute of each ended batch, the newest first, by workload."""
    batches = snapshot.batches[:most]
    groups = list_bars(batches)
    alone = all(len(each.bars) == 1 for each in groups)
    chart = bars(groups, same_scale=alone, empty="None of these batches has ended.")
    scales = "" if alone or len(groups) == 1 else "Each workload has its own scale."
    described = f"Throughput, items a minute. {_describe_groups(groups)}"
    return _render_chart(chart, described, BATCH_CHART, scales)


def list_bars(batches: Sequence[BatchFigures]) -> list[Group]:
    """Return a bar with the items per minute of each ended batch, grouped by workload."""
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
    """Return a bar for each lane and reason; beyond `MOST_REASONS` the least frequent ones share one bar.

    Bars are ordered by lane, then frequency; by frequency alone if some share a bar.
    """
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
    return Group(f"{workload}: {pluralize(whole, 'decision')}", shown)


def _minutes(snapshot: Snapshot, lane: Lane) -> Series:
    minutes = [each for each in snapshot.minutes if each.lane == lane]
    points = sorted((each.minute, float(each.p95_s)) for each in minutes)
    return Series(f"{lane_name(lane)}, p95 of each {POINTS[snapshot.point]}", points, COLORS[lane])


def _throughput(batch: BatchFigures) -> Bar:
    per_minute = batch.items_per_minute_until_ended or 0.0
    home = batch.items_per_minute_until_collected
    shown = rate(per_minute) + ("" if home is None else f" ({rate(home)})")
    return Bar(f"#{batch.batch_id}, {pluralize(batch.items, 'item')}", per_minute, shown, BATCH)


def _percentiles(lane: LaneFigures) -> list[Bar]:
    known = (("p50", lane.p50_s), ("p95", lane.p95_s), ("p99", lane.p99_s))
    return [
        Bar(name, float(value), seconds(value), COLORS[Lane(lane.lane)])
        for name, value in known
        if value is not None
    ]


def _describe_groups(groups: Sequence[Group]) -> str:
    def of(group: Group) -> str:
        return f"{group.heading}: " + ", ".join(f"{bar.label} {bar.shown}" for bar in group.bars)

    return "; ".join(map(of, groups))


def _largest_only(workloads: int) -> str:
    if workloads > MOST_WORKLOADS:
        return f"The {MOST_WORKLOADS} largest of {workloads} workloads."
    return ""


def _render_chart(chart: str, described: str, *sentences: str) -> str:
    """Return a chart as an image with its description, and the sentences below it in one paragraph."""
    caption = " ".join(filter(None, sentences))
    return data_uri(chart, described) + (f"\n\n{caption}" if caption else "")
