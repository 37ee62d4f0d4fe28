"""How many items a second the places of the real-time lane answer."""

from lanes.realtime.pace import MOST, UNTOLD, Pace


def items_per_s(
    call_s: float, *, items_a_call: float, most_calls: int, told: bool, drains: int = 1
) -> float:
    """By Little's law, where calls take `call_s` seconds on average, above 0, and carry so many items, at least 1.

    `most_calls` is the bound that somebody set for a drain, 0 for none; `told`: the provider tells its limits.
    """
    pace = Pace(most_calls or (MOST if told else UNTOLD))
    pace.call_s = call_s
    return max(1, drains) * pace.all_places / call_s * max(1.0, items_a_call)
