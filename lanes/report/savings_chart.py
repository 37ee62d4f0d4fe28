"""What was saved as a chart: from what all would have cost, step by step, down to what was paid."""

from collections.abc import Sequence
from decimal import Decimal

from lanes.report.charts import (
    BATCH,
    FAINT,
    INK,
    INNER,
    NEUTRAL,
    PADDING,
    ROW,
    card,
    fit,
    nothing,
    rect,
    text,
    text_width,
)
from lanes.units import usd

COST = "#b91c1c"


def steps(parts: Sequence[tuple[str, Decimal]]) -> str:
    """A bar for the first amount, one for what each part took off it or added, where it did, and one for the last.

    `parts` are US dollars; the first less all between is the last.
    """
    if len(parts) < 2 or max(amount for _, amount in parts) <= 0:
        return nothing("nothing was answered, so nothing was saved")
    spans = _spans([amount for _, amount in parts])
    most = max(end for _, end in spans)
    shown = [
        usd(amount) if place in (0, len(parts) - 1) else _signed(-amount)
        for place, (_, amount) in enumerate(parts)
    ]
    label_width = min(max(text_width(name) for name, _ in parts), 0.45 * INNER) + 12
    room = INNER - label_width - max(text_width(each) for each in shown) - 10
    left, body = PADDING + label_width, ""
    for place, ((name, amount), (start, end), value) in enumerate(
        zip(parts, spans, shown, strict=True)
    ):
        y = PADDING + place * ROW
        is_end = place in (0, len(parts) - 1)
        color = (INK if place == 0 else NEUTRAL) if is_end else (BATCH if amount >= 0 else COST)
        x, width = left + room * float(start / most), max(room * float((end - start) / most), 1.5)
        body += text(PADDING, y + 15, fit(name, label_width - 10), weight=600 if is_end else 0)
        body += rect(x, y + 3, width, ROW - 8, color)
        body += text(x + width + 8, y + 15, value, fill="" if is_end else FAINT, weight=600)
    return card(len(parts) * ROW + 2 * PADDING, body)


def _spans(amounts: Sequence[Decimal]) -> list[tuple[Decimal, Decimal]]:
    """From where to where each bar goes: whole amounts from zero, the parts between from where the one before ended."""
    spans, level = [(Decimal(0), amounts[0])], amounts[0]
    for amount in amounts[1:-1]:
        spans.append((max(Decimal(0), min(level, level - amount)), max(level, level - amount)))
        level -= amount
    return [*spans, (Decimal(0), max(Decimal(0), amounts[-1]))]


def _signed(amount: Decimal) -> str:
    return f"+{usd(amount)}" if amount > 0 else usd(amount)
