"""The savings by packing, caching, the batch discount and routing; the parts add up exactly.

The baseline is a single uncached real-time call for each item, at today's list prices of the real-time lane's model. The steps
have a fixed order, and each is measured after the previous ones, because they multiply: packed calls have less to cache, and
cached calls have less to discount.

1. Packing: the calls of the answers with the items that shared them, instead of a call with its own shared tokens for each.
2. Caching: the tokens of these calls at the prices of cache reads and writes, instead of all of them as input.
3. Model: batch calls at the full price of the batch model, instead of that of the real-time model.
4. Discount: batch calls at the batch price, divided by what sent the items there: a binding (sender or rule), or routing.
5. Prices: the amounts paid, instead of today's list prices (prices, models or versions changed, or a prompt was in a tier).
6. The amounts paid in addition to the first answers: second passes, and retries that gave no answer.

Source of the telescoping sum: a price-volume variance in a fixed order (Horngren, Cost Accounting, ch. 7). The order decides
how a joint effect is divided between the parts; it does not change the sum. The shared tokens are an estimate from the
instructions and the output schema.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from lanes.money.cost import LEDGER_DIGITS
from lanes.words import Lane

LAST_DIGIT = Decimal(1).scaleb(-LEDGER_DIGITS)


@dataclass(frozen=True)
class Billed:
    """The bill of one lane for live answers, or for second passes: `calls`, which `items` shared, with their tokens.

    These calls gave the first answer to `answers` of the items: 0 for second passes. `input` excludes tokens read from or
    written to the cache.
    """

    lane: Lane
    is_second: bool
    calls: int
    items: int
    answers: int
    input: int
    cached: int
    written: int
    output: int
    usd: Decimal

    @property
    def prompt(self) -> int:
        """The number of all input tokens."""
        return self.input + self.cached + self.written


@dataclass(frozen=True)
class TokenPrices:
    """The price of a token of each kind, in US dollars."""

    input: Decimal
    output: Decimal
    cached: Decimal
    written: Decimal


@dataclass(frozen=True)
class PriceList:
    """Today's list prices of both lanes' models.

    The real-time model's prices depend on the lane that its cache serves; the batch model's are at full price and in a batch.
    """

    realtime: Mapping[Lane, TokenPrices]
    batch_full: TokenPrices
    batch: TokenPrices


@dataclass(frozen=True)
class Savings:
    """The savings of a period in US dollars; a loss is negative. `alone_usd` less all parts is exactly `paid_usd`."""

    alone_usd: Decimal
    packing_usd: Decimal
    caching_usd: Decimal
    model_usd: Decimal
    discount_usd: Decimal  # of items that their sender or a rule bound to batch
    routing_usd: Decimal  # the discount of items that routing sent to batch although it could have chosen real-time
    prices_usd: Decimal
    second_usd: Decimal
    repeats_usd: Decimal
    paid_usd: Decimal

    @property
    def saved_usd(self) -> Decimal:
        """The sum of all savings."""
        return self.alone_usd - self.paid_usd


def savings(
    billed: Iterable[Billed], prices: PriceList, *, shared_tokens: int, chosen: float
) -> Savings | None:
    """Return the parts of the saving; None if nothing was answered.

    `chosen`, 0 to 1, is the share of the routes to batch in which routing was free to choose.
    """
    bills = [each for each in billed if each.calls]
    if not any(each.answers for each in bills):
        return None
    stages = [
        sum(stage, Decimal(0))
        for stage in zip(*(_stages(each, prices, shared_tokens) for each in bills), strict=True)
    ]
    alone, packed, cached, of_model, discounted, answered = stages
    second = sum((each.usd for each in bills if each.is_second), Decimal(0))
    paid = sum((each.usd for each in bills), Decimal(0))
    routing = ((of_model - discounted) * Decimal(repr(chosen))).quantize(LAST_DIGIT)
    return Savings(
        alone_usd=alone,
        packing_usd=alone - packed,
        caching_usd=packed - cached,
        model_usd=cached - of_model,
        discount_usd=of_model - discounted - routing,
        routing_usd=routing,
        prices_usd=discounted - answered,
        second_usd=-second,
        repeats_usd=answered + second - paid,
        paid_usd=paid,
    )


def _stages(billed: Billed, prices: PriceList, shared_tokens: int) -> tuple[Decimal, ...]:
    """Return the cost of first answers after each step: alone, packed, cached, with the lane's model, at its price, as paid.

    A call's items are treated alike: the first answers have their proportional part of it, whatever the call repeats.
    """
    part = (
        Decimal(billed.answers) / billed.items
        if billed.items and not billed.is_second
        else Decimal(0)
    )
    full = prices.realtime[billed.lane]
    is_batch = billed.lane is Lane.BATCH
    shared = min(Decimal(shared_tokens), Decimal(billed.prompt) / billed.calls)
    alone = billed.prompt + (max(billed.items, billed.calls) - billed.calls) * shared
    output = billed.output * full.output
    costs = (
        alone * full.input + output,
        billed.prompt * full.input + output,
        _at(billed, full),
        _at(billed, prices.batch_full if is_batch else full),
        _at(billed, prices.batch if is_batch else full),
        billed.usd,
    )
    return tuple((each * part).quantize(LAST_DIGIT) for each in costs)


def _at(billed: Billed, prices: TokenPrices) -> Decimal:
    return (
        billed.input * prices.input
        + billed.cached * prices.cached
        + billed.written * prices.written
        + billed.output * prices.output
    )
