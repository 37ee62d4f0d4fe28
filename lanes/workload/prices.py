"""The cost of a billed response in US dollars, from the dated tables of genai-prices, in Decimal arithmetic.

Prices per token are cached by model, lane, day and tier, because a save computes the costs of thousands of responses.
"""

from bisect import bisect_left
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from lanes.words import Lane

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

PROVIDER = "anthropic"


class Usage(NamedTuple):
    """The tokens of one billed response. As the provider counts, `input` excludes tokens that the cache served or stored."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0

    @property
    def cache_write(self) -> int:
        """The tokens stored in the cache, for any time to live."""
        return self.cache_write_5m + self.cache_write_1h

    @property
    def prompt(self) -> int:
        """All input tokens, cached or not."""
        return self.input + self.cache_read + self.cache_write


class PerToken(NamedTuple):
    """The price of one token of each kind in US dollars."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal

    def cache_write(self, lane: Lane) -> Decimal:
        """Return the price of a token that the lane caches: for five minutes in real time, for an hour in batch."""
        return self.cache_write_5m if lane is Lane.REALTIME else self.cache_write_1h


def cost(usage: Usage, *, model: str, lane: Lane, at: datetime) -> Decimal:
    """Return the cost of one response in US dollars, by the prices of the lane on the day of `at` in UTC.

    A response whose prompt exceeds the start of a tier pays that tier's prices for all of its tokens.

    Raises:
        LookupError: no price is known for the model.
    """
    each = per_token(model, lane, at, prompt=usage.prompt)
    return (
        usage.input * each.input
        + usage.output * each.output
        + usage.cache_read * each.cache_read
        + usage.cache_write_5m * each.cache_write_5m
        + usage.cache_write_1h * each.cache_write_1h
    )


def per_token(model: str, lane: Lane, at: datetime, *, prompt: int = 0) -> PerToken:
    """Return the price of a token of each kind on a lane on the day of `at` in UTC, for a prompt of `prompt` tokens.

    Raises:
        LookupError: no price is known for the model.
    """
    day = at.astimezone(UTC).date()
    starts = _tiers(model, lane, day)
    if starts is None:
        raise LookupError(f'no price is known for the model "{model}"')
    return _per_token(model, lane, day, bisect_left(starts, prompt))


def dearer_above(model: str, lane: Lane, at: datetime) -> int | None:
    """Return the prompt size in tokens above which prices rise; None if there is no such limit or no price is known."""
    starts = _tiers(model, lane, at.astimezone(UTC).date())
    return starts[0] if starts else None


def load() -> None:
    """Load the price tables now, so that the first price does not take longer."""
    import genai_prices.data  # noqa: F401


def require(model: str) -> None:
    """Check that the price of a model is known.

    Raises:
        ValueError: it is unknown; the message gives the remedy.
    """
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    try:
        calc_price(PricedUsage(input_tokens=1), model_ref=model, provider_id=PROVIDER)
    except LookupError:
        message = (
            f'no price is known for the model "{model}"; correct the name or update genai-prices'
        )
        raise ValueError(message) from None


@cache
def price_version() -> str:
    """Return the version of the price tables, which each ledger row stores."""
    from importlib.metadata import version

    return f"genai-prices {version('genai-prices')}"


@lru_cache(maxsize=4096)
def _tiers(model: str, lane: Lane, day: date) -> tuple[int, ...] | None:
    """Return the prompt sizes in tokens at which the tiers start, in order; None if no price is known for the model."""
    from genai_prices.types import TieredPrices

    try:
        prices = vars(
            calculate_price(Usage(input=1), model=model, lane=lane, at=_noon(day)).model_price
        ).values()
    except LookupError:
        return None
    return tuple(
        sorted(
            {
                tier.start
                for price in prices
                if isinstance(price, TieredPrices)
                for tier in price.tiers
            }
        )
    )


@lru_cache(maxsize=4096)
def _per_token(model: str, lane: Lane, day: date, tier: int) -> PerToken:
    """Return the prices of a tier, counted from 0: of one more token of each kind with a prompt in that tier."""
    starts = _tiers(model, lane, day) or ()
    prompt = starts[tier - 1] + 1 if tier else 1

    def usd(usage: Usage) -> Decimal:
        return calculate_price(usage, model=model, lane=lane, at=_noon(day)).total_price

    base_usd = usd(Usage(input=prompt))
    into = base_usd / prompt

    def instead(**kind: int) -> Decimal:
        return usd(Usage(input=prompt - 1, **kind)) - base_usd + into

    return PerToken(
        into,
        usd(Usage(input=prompt, output=1)) - base_usd,
        instead(cache_read=1),
        instead(cache_write_5m=1),
        instead(cache_write_1h=1),
    )


def calculate_price(usage: Usage, *, model: str, lane: Lane, at: datetime) -> "PriceCalculation":
    """Return the price calculation of genai-prices for a response.

    Raises:
        LookupError: no price is known for the model.
    """
    from genai_prices import Usage as PricedUsage  # slow to load: tables of all providers
    from genai_prices import calc_price

    priced = PricedUsage(
        input_tokens=usage.prompt,
        output_tokens=usage.output,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_5m_tokens=usage.cache_write_5m,
        cache_write_1h_tokens=usage.cache_write_1h,
    )
    return calc_price(
        priced,
        model_ref=model,
        provider_id=PROVIDER,
        genai_request_timestamp=at,
        price_context={"processing": "batch"} if lane is Lane.BATCH else None,
    )


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)
