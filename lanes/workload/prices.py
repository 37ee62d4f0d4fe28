"""What a billed response costs, by genai-prices' dated tables. Pure Decimal arithmetic, in US dollars."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache

from lanes.words import Lane

PROVIDER = "anthropic"


@dataclass(frozen=True)
class Usage:
    """Tokens of one billed response. `input` excludes what the cache served or stored, as the provider reports it."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0

    @property
    def cache_write(self) -> int:
        """Tokens stored in the cache, whatever their time to live."""
        return self.cache_write_5m + self.cache_write_1h

    @property
    def prompt(self) -> int:
        """Every input token, cached or not."""
        return self.input + self.cache_read + self.cache_write


def cost(usage: Usage, *, model: str, lane: Lane, at: datetime) -> Decimal:
    """US dollars of one response: the batch lane pays the batch price of that day.

    Raises:
        LookupError: no price is known for the model.
    """
    from genai_prices import Usage as PricedUsage  # the tables of every provider: only who asks for a price loads them
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
    ).total_price


def require(model: str) -> None:
    """Nothing happens for a model whose price is known.

    Raises:
        ValueError: it is not; the sentence says what to do.
    """
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    try:
        calc_price(PricedUsage(input_tokens=1), model_ref=model, provider_id=PROVIDER)
    except LookupError:
        said = f'no price is known for the model "{model}"; correct the name or update genai-prices'
        raise ValueError(said) from None


@cache
def price_version() -> str:
    """Which price table this process uses; stored with each ledger row."""
    from importlib.metadata import version

    return f"genai-prices {version('genai-prices')}"
