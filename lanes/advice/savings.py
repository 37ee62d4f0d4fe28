"""The savings by packing, caching, the batch discount and routing; the parts add up exactly.

Held against each item alone in one uncached call in real-time, at today's list prices of the real-time lane's model. The steps
come in one order, and each is counted after those before it, since they multiply: packed calls have less to cache, cached calls
less to discount.

1. packing: the answers' calls with the items that shared them, instead of each with the shared tokens of its own;
2. caching: their tokens at the prices of cache reads and writes, instead of all as input;
3. model: batch's at the full price of batch's model, instead of that of real-time's;
4. the discount: batch's at the price of batch, divided by what sent its items there: a binding (sender or rule), or routing;
5. prices: what was paid for them, instead of today's list (prices, models or versions were others, or a prompt had a tier);
6. what was paid beside the first answers: second passes, and tries again that gave none.

Source of telescoping: a price-volume variance in a fixed order (Horngren, Cost Accounting, ch. 7). The order decides how a
joint effect is divided between the parts; it does not change the sum. The shared tokens are an estimate from the instructions
and the output schema.
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

    `answers` of the items were answered first by them: 0 for second passes. `input` leaves out what was cached or written.
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
        """Every input token."""
        return self.input + self.cached + self.written


@dataclass(frozen=True)
class TokenPrices:
    """US dollars of a token of each kind."""

    input: Decimal
    output: Decimal
    cached: Decimal
    written: Decimal


@dataclass(frozen=True)
class PriceList:
    """Today's list prices of the models of both lanes.

    The real-time model's prices are by the lane that its cache serves; the batch model's are at full price and in a batch.
    """

    realtime: Mapping[Lane, TokenPrices]
    batch_full: TokenPrices
    batch: TokenPrices


@dataclass(frozen=True)
class Savings:
    """US dollars of the period; what cost more instead is negative. `alone_usd` less all parts is `paid_usd`, exactly."""

    alone_usd: Decimal
    packing_usd: Decimal
    caching_usd: Decimal
    model_usd: Decimal
    discount_usd: Decimal  # of items that their sender or a rule bound to batch
    routing_usd: Decimal  # the discount of items that routing sent to batch, though it might have chosen real-time
    prices_usd: Decimal
    second_usd: Decimal
    repeats_usd: Decimal
    paid_usd: Decimal

    @property
    def saved_usd(self) -> Decimal:
        """All of it."""
        return self.alone_usd - self.paid_usd


def savings(
    billed: Iterable[Billed], prices: PriceList, *, shared_tokens: int, chosen: float
) -> Savings | None:
    """Return the parts of the saving; None if nothing was answered.

    `chosen`, 0 to 1, is the share of the routes to batch in which routing was free.
    """
    used = [each for each in billed if each.calls]
    if not any(each.answers for each in used):
        return None
    stages = [
        sum(stage, Decimal(0))
        for stage in zip(*(_stages(each, prices, shared_tokens) for each in used), strict=True)
    ]
    alone, packed, cached, of_model, discounted, answered = stages
    second = sum((each.usd for each in used if each.is_second), Decimal(0))
    paid = sum((each.usd for each in used), Decimal(0))
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

    A call's items are alike in this: its answers have their part of it, whatever it repeats.
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
