"""Small charts as SVG for a Markdown artifact: 690 px wide, on their own white card, every value written beside it."""

import base64
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as escape_xml
from math import ceil

from lanes.text import plain

WIDTH = 690
PADDING = 16
INNER = WIDTH - 2 * PADDING
ROW = 24
LEGEND_ROW = 20
LETTER = 6.7  # px; a generous width at 12 px, so that an unknown font still fits
INK, FAINT, RULE = "#1f2937", "#6b7280", "#e5e7eb"
REALTIME, BATCH, NEUTRAL = "#2563eb", "#047857", "#6b7280"
REALTIME_SHADES = ("#1d4ed8", "#3b82f6", "#1e3a8a", "#60a5fa", "#6366f1", "#93c5fd")
BATCH_SHADES = ("#047857", "#34d399", "#064e3b", "#6ee7b7")
FONT = 'font-family="Geist,Inter,system-ui,sans-serif" font-size="12"'


@dataclass(frozen=True)
class Bar:
    """One horizontal bar: `value` sets its length, `shown` stands at its end."""

    label: str
    value: float
    shown: str
    color: str = NEUTRAL


@dataclass(frozen=True)
class Group:
    """Bars under one heading; an empty heading takes no room."""

    heading: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Segment:
    """One part of a mix."""

    label: str
    value: float
    shown: str
    color: str


@dataclass(frozen=True)
class Mix:
    """One whole made of segments."""

    heading: str
    segments: Sequence[Segment]


def bars(groups: Sequence[Group], *, same_scale: bool = True, empty: str = "no data yet") -> str:
    """Horizontal bars in groups. Without `same_scale` each group's longest bar fills the width."""
    if not any(group.bars for group in groups):
        return nothing(empty)
    every = [bar for group in groups for bar in group.bars]
    label_width = min(max(text_width(bar.label) for bar in every), 0.36 * INNER) + 12
    value_width = max(text_width(bar.shown) for bar in every) + 10
    room = max(INNER - label_width - value_width, 40)
    longest = max(bar.value for bar in every)
    left, y, body = PADDING + label_width, PADDING, ""
    for group in groups:
        if group.heading:
            body += text(PADDING, y + 15, fit(group.heading, INNER), weight=600)
            y += ROW
        top = longest if same_scale else max((bar.value for bar in group.bars), default=0)
        for bar in group.bars:
            width = room * bar.value / top if top > 0 and bar.value > 0 else 0
            width = max(width, 1.5) if bar.value > 0 else 0
            body += text(PADDING, y + 15, fit(bar.label, label_width - 10))
            body += rect(left, y + 3, width, ROW - 8, bar.color)
            body += text(left + width + 8, y + 15, bar.shown, weight=600)
            y += ROW
        y += 8
    return card(y - 8 + PADDING, body)


def mix(mixes: Sequence[Mix], *, empty: str = "no data yet") -> str:
    """One stacked bar a mix, its parts named inside where they fit and in a row below where they do not."""
    drawn = [each for each in mixes if sum(segment.value for segment in each.segments) > 0]
    if not drawn:
        return nothing(empty)
    y, body = float(PADDING), ""
    for each in drawn:
        if each.heading:
            body += text(PADDING, y + 13, fit(each.heading, INNER), weight=600)
            y += 22
        shown = [segment for segment in each.segments if segment.value > 0]
        below: list[Segment] = []
        x = float(PADDING)
        for segment, width in zip(
            shown, _widths([segment.value for segment in shown], INNER), strict=True
        ):
            body += rect(x, y, max(width - 2, 1), 28, segment.color)
            label = f"{segment.label} {segment.shown}"
            if text_width(label) + 16 <= width:
                body += text(x + 8, y + 18, label, fill=_ink_on(segment.color))
            else:
                below.append(segment)
            x += width
        y += 28
        if below:
            body += _legend(below, y + 8)
            y += 8 + LEGEND_ROW * ceil(len(below) / _legend_columns(below))
        y += 16
    return card(y - 16 + PADDING, body)


def nothing(sentence: str) -> str:
    """A card that says why there is no chart."""
    return card(56, text(PADDING, 33, fit(sentence, INNER), fill=FAINT))


def data_uri(svg: str, alt: str) -> str:
    """The chart as a Markdown image, carried whole in a data: URI."""
    described = "".join(char for char in plain(alt, most=300) if char not in "[]\\`<>&|!*_~")
    return f"![{described}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def card(height: float, body: str) -> str:
    """A white card around `body`: readable on a light and on a dark page."""
    high = round(height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{high}" viewBox="0 0 {WIDTH} {high}">'
        f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{high - 1}" rx="8" fill="#fff" stroke="{RULE}"/>'
        f'<g fill="{INK}" {FONT}>{body}</g></svg>'
    )


def text(
    x: float, y: float, words: str, *, fill: str = "", anchor: str = "", weight: int = 0
) -> str:
    """A line of text with its baseline at `y`, dark unless `fill` says otherwise."""
    given = (("fill", fill), ("text-anchor", anchor), ("font-weight", weight))
    more = "".join(f' {name}="{value}"' for name, value in given if value)
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape_xml(plain(words))}</text>'


def rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A filled rectangle, nothing when it has no width."""
    if width <= 0:
        return ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.0f}" rx="2" fill="{fill}"/>'


def text_width(words: str) -> float:
    """Roughly how many px a line takes at 12 px; on the generous side."""
    return sum(
        2 * LETTER if unicodedata.east_asian_width(char) in "WF" else LETTER
        for char in plain(words)
    )


def fit(words: str, width: float) -> str:
    """The words, cut with "..." when they would be wider than `width` px."""
    words = plain(words)
    if text_width(words) <= width:
        return words
    while words and text_width(words) + 3 * LETTER > width:
        words = words[:-1]
    return words.rstrip() + "..."


def _legend(segments: Sequence[Segment], top: float) -> str:
    columns = _legend_columns(segments)
    body = ""
    for place, segment in enumerate(segments):
        x = PADDING + place % columns * INNER / columns
        y = top + place // columns * LEGEND_ROW
        label = fit(f"{segment.label} {segment.shown}", INNER / columns - 24)
        body += rect(x, y + 3, 10, 10, segment.color) + text(x + 16, y + 12, label)
    return body


def _legend_columns(segments: Sequence[Segment]) -> int:
    widest = max(text_width(f"{segment.label} {segment.shown}") for segment in segments)
    return max(1, min(3, int(INNER / (widest + 24))))


def _widths(values: Sequence[float], room: float) -> list[float]:
    """Px for each value, in proportion, none below 5 px as long as there is room."""
    least = min(5.0, room / len(values))
    spare = room - least * len(values)
    whole = sum(values)
    return [least + spare * value / whole for value in values]


def _ink_on(color: str) -> str:
    """White on dark colours, black on light ones, by relative luminance."""
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return "#ffffff" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 140 else "#111827"
