"""US dollars, as people write them on the command line."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from cyclopts import Token


def dollars(_: object, tokens: Sequence[Token]) -> Decimal:
    """The amount that was written.

    Raises:
        ValueError: it is none, or has no end.
    """
    said = tokens[0].value
    try:
        amount = Decimal(said)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise ValueError(f'"{said}" is no amount in US dollars, such as 20 or 0.5')
    return amount
