"""The comparison of the provider's bill with the ledger, by period, model and lane.

The provider may bill a response in the period in which the call began or in the one in which it ended. So the ledger has two
sums: `least`, of the responses that certainly belong to the period, and `most`, of all that may.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from lanes.units import pluralize, usd
from lanes.words import Lane
from lanes.workload.prices import per_token

KINDS = ("input", "output", "cache_read", "cache_write")
# The tolerance between the cost of a row's tokens at our prices and the cost that the provider reports.
ROUNDING_USD = Decimal("0.01")
Tokens = Counter[str]  # by kind; `input` excludes tokens read from or written to the cache


class BillKey(NamedTuple):
    """A row of the bill: the start of its period, its model, and the lane of its service tier."""

    at: datetime
    model: str
    lane: Lane


@dataclass
class LedgerRow:
    """The ledger's side of a row; `unknown` attempts ended without an answer and may have cost up to `unknown_usd`."""

    least: Tokens = field(default_factory=Tokens)
    most: Tokens = field(default_factory=Tokens)
    unknown: int = 0
    unknown_usd: Decimal = Decimal(0)


@dataclass
class ProviderRow:
    """The provider's bill for our key and for its whole workspace; `cost_usd` is the workspace's cost, if reported."""

    own: Tokens = field(default_factory=Tokens)
    workspace: Tokens = field(default_factory=Tokens)
    cost_usd: Decimal | None = None


@dataclass(frozen=True)
class BillDifference:
    """A row on which the bill and the ledger disagree, and the ledger's tokens that the provider did not bill."""

    of: BillKey
    missing: Tokens
    detail: str

    @property
    def sentence(self) -> str:
        """The difference, as a sentence."""
        return f"{self.of.model} on {self.of.lane}: {self.detail}"


def compare(
    ledger: Mapping[BillKey, LedgerRow], billed: Mapping[BillKey, ProviderRow]
) -> list[BillDifference]:
    """Return the rows that differ beyond rounding, in order.

    Tokens that the provider billed to our key and that the ledger does not have are a surplus, unless attempts without an
    answer may have cost as much. Tokens in the ledger are missing from the bill only if the provider billed them to no key of
    the workspace: our key may have been replaced that day.
    """
    differences: list[BillDifference] = []
    for key in sorted({*ledger, *billed}):
        ledger_row, provider_row = ledger.get(key, LedgerRow()), billed.get(key, ProviderRow())
        surplus, missing, clauses = (
            provider_row.own - ledger_row.most,
            ledger_row.least - provider_row.workspace,
            list[str](),
        )
        cost = _usd(surplus, key)
        if surplus and (cost is None or cost > ledger_row.unknown_usd):
            clauses.append(f"{_format_tokens(surplus, key)} more than the ledger")
            if ledger_row.unknown:
                lost = pluralize(ledger_row.unknown, "attempt")
                clauses.append(
                    f"{lost} without an answer explain at most {usd(ledger_row.unknown_usd)}"
                )
        if missing:
            clauses.append(f"{_format_tokens(missing, key)} less than the ledger")
        paid, priced = provider_row.cost_usd, _usd(provider_row.workspace, key)
        if paid is not None and priced is not None and abs(paid - priced) > ROUNDING_USD:
            clauses.append(f"its tokens cost {usd(paid)}, at our prices {usd(priced)}")
        if clauses:
            differences.append(BillDifference(key, missing, "; ".join(clauses)))
    return differences


def _usd(tokens: Tokens, key: BillKey) -> Decimal | None:
    """Return what tokens cost at our prices; None if the model has no known price."""
    try:
        each = per_token(key.model, key.lane, key.at)
    except LookupError:
        return None
    prices = (each.input, each.output, each.cache_read, each.cache_write(key.lane))
    return sum((tokens[k] * price for k, price in zip(KINDS, prices, strict=True)), Decimal(0))


def _format_tokens(tokens: Tokens, key: BillKey) -> str:
    cost, kinds = _usd(tokens, key), [kind for kind in KINDS if tokens[kind]]
    amounts = ", ".join(
        pluralize(tokens[kind], f"{kind.replace('_', ' ')} token") for kind in kinds
    )
    return amounts if cost is None else f"{amounts} ({usd(cost)})"
