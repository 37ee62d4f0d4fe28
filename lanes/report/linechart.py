"""Durations over time: a line for each series, one panel above the other, each on its own scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor, log10

from lanes.report.charts import FAINT, PADDING, RULE, WIDTH, card, fit, nothing, text, text_width
from lanes.units import clock, seconds

PANEL = 112  # px, heading included
PLOT = 64
MOST_POINTS = 100
JOINED_WITHIN = 5  # steps between two points that a line may bridge


@dataclass(frozen=True)
class Series:
    """Durations in seconds at moments, in the order of time."""

    heading: str
    points: Sequence[tuple[datetime, float]]
    color: str


def lines(series: Sequence[Series], *, step: timedelta, empty: str = "no data yet") -> str:
    """The panels over one time axis. Points that are `step` or a little more apart are joined.

    Above 100 points a panel shows the highest value of each span, so that no peak is lost.
    """
    drawn = [each for each in series if each.points]
    if not drawn:
        return nothing(empty)
    first = min(each.points[0][0] for each in drawn)
    last = max(each.points[-1][0] for each in drawn)
    last = max(last, first + step)
    span = (last - first).total_seconds()
    stride = max(step.total_seconds(), span / MOST_POINTS)
    scales = [_scale(max(value for _, value in each.points)) for each in drawn]
    left = PADDING + max(text_width(seconds(tick)) for scale in scales for tick in scale) + 10
    room = WIDTH - PADDING - 10 - left
    body = ""
    for place, (each, scale) in enumerate(zip(drawn, scales, strict=True)):
        top = PADDING + place * PANEL
        floor_y = top + 28 + PLOT
        points = [
            (
                left + room * (moment - first).total_seconds() / span,
                floor_y - PLOT * value / scale[-1],
                value,
            )
            for moment, value in _thinned(each.points, first, stride)
        ]
        body += _heading(each, top, beside=last)
        for tick in scale:
            body += _gridline(left, left + room, floor_y - PLOT * tick / scale[-1], seconds(tick))
        body += _curve(points, each.color, bridge=JOINED_WITHIN * room * stride / span)
    height = PADDING + len(drawn) * PANEL
    body += text(left, height, clock(first, beside=last), fill=FAINT)
    body += text(left + room, height, clock(last, beside=last), fill=FAINT, anchor="end")
    return card(height + PADDING, body)


def _heading(series: Series, top: float, *, beside: datetime) -> str:
    peak = max(value for _, value in series.points)
    at, last = series.points[-1]
    said = f"{series.heading}: {seconds(last)} at {clock(at, beside=beside)}, the last one; highest {seconds(peak)}"
    return text(PADDING, top + 11, fit(said, WIDTH - 2 * PADDING), fill=series.color, weight=600)


def _gridline(left: float, right: float, y: float, label: str) -> str:
    line = f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{RULE}"/>'
    return line + text(left - 8, y + 4, label, fill=FAINT, anchor="end")


def _curve(points: Sequence[tuple[float, float, float]], color: str, *, bridge: float) -> str:
    """Runs of neighbouring points as lines; points as dots when there are few or when they stand alone."""
    runs: list[list[tuple[float, float]]] = []
    for x, y, _ in points:
        if runs and x - runs[-1][-1][0] <= bridge:
            runs[-1].append((x, y))
        else:
            runs.append([(x, y)])
    drawn = ""
    for run in runs:
        if len(run) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            drawn += f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>'
        if len(run) == 1 or len(points) <= 30:
            drawn += "".join(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in run
            )
    return drawn


def _thinned(
    points: Sequence[tuple[datetime, float]], first: datetime, stride: float
) -> list[tuple[datetime, float]]:
    highest: dict[int, tuple[datetime, float]] = {}
    for moment, value in points:
        span = floor((moment - first).total_seconds() / stride)
        if span not in highest or value > highest[span][1]:
            highest[span] = (moment, value)
    return list(highest.values())


def _scale(highest: float) -> list[float]:
    """Zero, the middle and a top at or above `highest`, round in the unit it is written in."""
    if highest <= 0:
        return [0, 1]
    unit = next(
        (size for size, up_to in ((1, 120), (60, 7200), (3600, 172_800)) if highest < up_to), 86_400
    )
    power = 10 ** floor(log10(highest / unit)) * unit
    top = next((step * power for step in (1, 2, 4, 6, 8) if step * power >= highest), 10 * power)
    return [0, top / 2, top]
