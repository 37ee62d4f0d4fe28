"""The charts of a rollout: the split over time, and the bounds of each gate next to its limit."""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import groupby
from math import isfinite

from lanes.report import charts
from lanes.report.charts import FAINT, INK, INNER, NEUTRAL, PADDING, REALTIME, ROW, RULE, WIDTH
from lanes.rollouts.gates import MEANS, Gate, Judgement, Measure
from lanes.rollouts.rollout import LogEntry
from lanes.units import clock
from lanes.words import Verdict

# Of decided verdicts; the others are neutral.
COLORS = {Verdict.PASSED: "#047857", Verdict.FAILED: "#b91c1c"}
TRACK = 12  # px
FAR = 4  # multiples of the limit; values beyond are cut off, so that a gate with few samples stays readable
PLOT = 72
LEGEND = (
    "Band: the true value lies in it; at an edge it goes on. Dot: what was seen. Line: the limit."
)


def split(log: Sequence[LogEntry], *, until: datetime, to: str = "real time") -> str:
    """Draw the share to real time, or to a version, over the time since the first log entry."""
    if not log:
        return charts.draw_empty("no share was set yet")
    first, last = log[0].at, max(until, log[-1].at)
    log = [next(same) for _, same in groupby(log, lambda each: each.basis_points)]
    span = max((last - first).total_seconds(), 1.0)
    left, right = PADDING + charts.text_width("100 %") + 8, WIDTH - PADDING
    top = PADDING + ROW
    floor = top + PLOT
    body = ""
    for percent in (0, 50, 100):
        y = floor - PLOT * percent / 100
        body += f'<line x1="{left:.1f}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{RULE}"/>'
        body += charts.text(left - 8, y + 4, f"{percent} %", fill=FAINT, anchor="end")
    ends = [*(each.at for each in log[1:]), last]
    for each, end in zip(log, ends, strict=True):
        x, width = (
            (right - left) * (moment - since).total_seconds() / span
            for moment, since in ((each.at, first), (end, each.at))
        )
        height = PLOT * each.basis_points / 10_000
        body += charts.rect(left + x, floor - max(height, 1), width, max(height, 1), REALTIME)
    now = f"{log[-1].basis_points / 100:g} % go to {to} since {clock(log[-1].at, beside=last)}"
    body += charts.text(PADDING, PADDING + 11, now, fill=REALTIME, weight=600)
    body += charts.text(left, floor + 18, clock(first, beside=last), fill=FAINT)
    body += charts.text(right, floor + 18, clock(last, beside=last), fill=FAINT, anchor="end")
    return charts.card(floor + 18 + PADDING, body)


def gates(judged: Sequence[Judgement], describe: Callable[[Judgement], str]) -> str:
    """Draw the bounds, the observed value and the limit of each gate; `describe` returns the line of text above them."""
    drawn = [each for each in judged if each.between is not None]
    if not drawn:
        return charts.draw_empty("no gate was judged yet")
    body, y = "", float(PADDING)
    for each in drawn:
        color = COLORS.get(each.verdict, NEUTRAL)
        body += charts.text(
            PADDING, y + 11, charts.fit(describe(each), INNER), fill=color, weight=600
        )
        body += _track(each, y + 18, color)
        y += 18 + TRACK + 14
    body += charts.text(PADDING, y + 8, charts.fit(LEGEND, INNER), fill=FAINT)
    return charts.card(y + 8 + PADDING, body)


def gate_limit(gate: Gate) -> float:
    """Return the value that the bounds of a gate are compared with."""
    return gate.limit if gate.measure in MEANS else gate.tolerance


def _track(judgement: Judgement, y: float, color: str) -> str:
    assert judgement.between is not None
    gate, limit = judgement.gate, gate_limit(judgement.gate)
    is_signed = gate.worse_by is not None or gate.measure is Measure.SAVING
    start, end = (-FAR * limit if is_signed else 0.0), FAR * limit
    if gate.measure is not Measure.COST_USD:
        start, end = max(start, -1.0), min(end, 1.0)
    if end <= start:  # the limit is zero
        start, end = (-0.5, 0.5) if is_signed else (0.0, 1.0)

    def across(value: float) -> float:
        return PADDING + INNER * (min(max(value, start), end) - start) / (end - start)

    low, high = (across(each) for each in judgement.between)
    body = charts.rect(PADDING, y, INNER, TRACK, RULE)
    body += charts.rect(low, y, max(high - low, 2), TRACK, color)
    body += f'<line x1="{across(limit):.1f}" x2="{across(limit):.1f}" y1="{y - 3:.1f}" y2="{y + TRACK + 3:.1f}" stroke="{INK}"'
    body += ' stroke-width="2"/>'
    seen = _read_observed(judgement)
    if seen is not None and isfinite(seen):
        body += f'<circle cx="{across(seen):.1f}" cy="{y + TRACK / 2:.1f}" r="4" fill="#fff" stroke="{INK}"/>'
    return body


def _read_observed(judgement: Judgement) -> float | None:
    """Return the observed value in the unit of the bounds."""
    if judgement.gate.measure in MEANS:
        return judgement.measurement.value
    return (
        judgement.measurement.wrong_share.value
        if judgement.gate.worse_by is None
        else judgement.measurement.excess
    )
