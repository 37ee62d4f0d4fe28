"""Numbers as text: US dollars, durations, shares and counts, with "-" for a missing value."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal

MISSING = "-"
SIGNIFICANT_DIGITS = 3
MOST_DECIMALS = 9  # the ledger's precision is a billionth of a dollar
MOST_ALIGNED_DECIMALS = 6


def usd(amount: Decimal | None) -> str:
    """Format US dollars: with cents for a dollar or more, otherwise with three significant digits."""
    if amount is None:
        return MISSING
    amount = Decimal(amount)
    if amount == 0:
        return "$0"
    return _write_usd(amount, _decimals(amount, MOST_DECIMALS))


def dollars(amount: float | None) -> str:
    """Format US dollars that were calculated as floats, in the same format as `usd`."""
    if amount is None:
        return MISSING
    if amount == 0:
        return "$0"
    size = abs(amount)
    decimals = (
        2
        if size >= 1
        else min(SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(size)), MOST_DECIMALS)
    )
    return _write_usd(amount, decimals)


def align_usd(amounts: Sequence[Decimal | None]) -> Callable[[Decimal | None], str]:
    """Return a formatter for the amounts of one column, with the decimals that the smallest amount needs, 2 to 6."""
    known = [Decimal(amount) for amount in amounts if amount]
    decimals = max((_decimals(amount, MOST_ALIGNED_DECIMALS) for amount in known), default=2)
    return lambda amount: MISSING if amount is None else _write_usd(amount, decimals)


def seconds(duration: float | None) -> str:
    """Format a duration in a suitable unit: 0.14 s, 2.1 s, 25 s, 22 min, 3.5 h, 4 d."""
    if duration is None:
        return MISSING
    duration = float(duration)
    if duration == 0:
        return "0 s"
    if duration < 0:
        return f"-{seconds(-duration)}"
    if round(duration, 2) < 1:
        return f"{duration:.2f} s"
    if round(duration) < 120:
        return f"{_short(duration)} s"
    if round(duration / 60) < 120:
        return f"{_short(duration / 60)} min"
    if round(duration / 3600) < 48:
        return f"{_short(duration / 3600)} h"
    return f"{_short(duration / 86400)} d"


def share(part: float | None) -> str:
    """Format a fraction as a percentage; only exact values are shown as 0 % or 100 %."""
    if part is None:
        return MISSING
    percent = 100 * float(part)
    if percent < 0:
        return f"-{share(-float(part))}"
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    decimals = 0 if 10 <= round(percent, 1) <= 99 else 1
    return f"{percent:.{decimals}f}".removesuffix(".0") + " %"


def count(number: int) -> str:
    """Format an integer with thousands separators."""
    return f"{number:,}"


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 item", "1,204 items" or "2 batches"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('ch') else 's'}"


def sentence(clause: str) -> str:
    """Return a clause as a sentence, with a capital letter and a full stop."""
    return f"{clause[:1].upper()}{clause[1:]}."


def rate(per_minute: float) -> str:
    """Format a rate per minute: two significant digits below 0.1, one decimal below ten, none above."""
    number = float(per_minute)
    if 0 < number < 0.1:
        return f"{number:.{1 - math.floor(math.log10(number))}f}"
    return _short(number) if number else "0"


def ratio(number: float) -> str:
    """Format a ratio: with one decimal below ten unless it is whole, without decimals above."""
    return count(round(number)) if round(number, 1) == round(number) else _short(number)


def clock(moment: datetime, *, beside: datetime) -> str:
    """Format a time in UTC, without its date if `beside` is on the same day."""
    utc = moment.utctimetuple()
    same_day = utc[:3] == beside.utctimetuple()[:3]
    day = "" if same_day else f"{utc.tm_year}-{utc.tm_mon:02}-{utc.tm_mday:02} "
    return f"{day}{utc.tm_hour:02}:{utc.tm_min:02} UTC"


def _write_usd(amount: Decimal | float, decimals: int) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.{decimals}f}"


def _decimals(amount: Decimal, most: int) -> int:
    return 2 if abs(amount) >= 1 else min(SIGNIFICANT_DIGITS - 1 - amount.adjusted(), most)


def _short(number: float) -> str:
    return f"{number:.1f}" if round(number, 1) < 10 else f"{number:,.0f}"
