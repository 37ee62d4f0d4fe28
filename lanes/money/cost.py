"""What an item would cost on each lane, estimated before it is sent, and how a shared bill is divided."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from itertools import starmap
from typing import TYPE_CHECKING

from lanes.ids import VersionId
from lanes.json_data import octets
from lanes.money.caching import cache_prices, written
from lanes.packing import FRAME_CHARS, HISTORY_RULE
from lanes.words import Lane
from lanes.workload.prices import Usage, cost, per_token

if TYPE_CHECKING:
    from lanes.money.sharing import Sharing  # which counts with what is here
    from lanes.workload.version import Spec, Version

CHARS_PER_TOKEN = 4  # Anthropic's rule of thumb for English text
NANO_USD = Decimal("0.000000001")
LEDGER_DIGITS = 10  # decimals of a US dollar that the ledger keeps
FRAME_TOKENS = 400  # what the provider adds for the output format, and a pack for its rule
FRAME_BYTES = (
    1_200  # the same, the names of the body's fields, and the rules that we add to the instructions
)
PER_SCHEMA_BYTES = 64  # what the SDK and a pack add to each object of a schema
PACK_MARGIN_TOKENS = 32  # what an answer may take more within a pack: its id, and what frames both


@dataclass(frozen=True)
class Estimate:
    """US dollars of one item on each lane, packing included, rounded to a billionth."""

    realtime: Decimal
    batch: Decimal

    @cached_property
    def less_in_batch(self) -> float:
        """What a batch costs less, negative where it is dearer."""
        return float(self.realtime - self.batch)


@dataclass(frozen=True)
class Part:
    """An attempt's part of its response: tokens, and US dollars."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    usd: Decimal = Decimal(0)


def tokens(text: str | int) -> int:
    """Tokens of a text, or of that many characters: a rough, additive estimate."""
    length = text if isinstance(text, int) else len(text)
    return -(-length // CHARS_PER_TOKEN)


def shared_tokens(spec: "Spec") -> int:
    """Input tokens every call of a workload repeats: instructions and output schema."""
    return tokens(spec.instructions) + tokens(json.dumps(spec.output_schema))


def prompt_tokens(spec: "Spec", pack: int, payload_chars: int, history_chars: int = 0) -> Decimal:
    """Estimate the input tokens of an item, with its part of what a pack of `pack` items shares.

    `history_chars` are those of its earlier items that are asked with it: a rule explains them once in a call.
    """
    shared = shared_tokens(spec) + (tokens(HISTORY_RULE) if history_chars else 0)
    return Decimal(shared) / pack + tokens(payload_chars + history_chars)


def most_answer_tokens(spec: "Spec", items: int) -> int:
    """The most that a call of so many items may answer; each answer of a pack carries its id."""
    return items * (spec.max_output_tokens + (PACK_MARGIN_TOKENS if items > 1 else 0))


class Estimates:
    """What items would cost at the prices of one day: what is the same for all items of a version is asked for once.

    Calls are as full, and cached as often, as `sharing` says; without it as full as their workload allows, and never cached.
    """

    def __init__(self, at: datetime, sharing: "Sharing | None" = None) -> None:
        self._day, self._sharing = at.replace(hour=0, minute=0, second=0, microsecond=0), sharing
        self._rates: dict[VersionId, tuple[Rate, Rate]] = {}
        self._known: dict[tuple[VersionId, int, int], Estimate] = {}

    def of(self, version: "Version", payload_chars: int, history_chars: int = 0) -> Estimate:
        """Return what an item of `payload_chars` characters would cost on each lane.

        `history_chars` are those of its earlier items: the batch lane reads them, real time does not.

        Raises:
            LookupError: no price is known for one of its models.
        """
        own, told = (
            tokens(payload_chars),
            tokens(payload_chars + history_chars) if history_chars else 0,
        )
        known = self._known.get((version.id, own, told))
        if known is not None:
            return known
        rates = self._rates.get(version.id)
        if rates is None:
            shared = shared_tokens(version.spec)
            rates = self._rates[version.id] = (
                self._rate(version, Lane.REALTIME, shared),
                self._rate(version, Lane.BATCH, shared),
            )
        realtime, batch = rates
        in_batch = batch.of(told, told=True) if history_chars else batch.of(own)
        made = self._known[version.id, own, told] = Estimate(
            realtime=realtime.of(own), batch=in_batch
        )
        return made

    def _rate(self, version: "Version", lane: Lane, shared: int) -> "Rate":
        spec, sharing = version.spec, self._sharing
        each = per_token(spec.model_of(lane), lane, self._day)
        pack = sharing.pack_of(version, lane) if sharing else spec.pack_of(lane)
        factor, hit_rate = (
            Decimal(1),
            sharing.hit_rates.get((version.id, lane)) if sharing else None,
        )
        if hit_rate is not None:
            factor = Decimal(cache_prices(spec.model_of(lane), lane, at=self._day).factor(hit_rate))
        rule = tokens(HISTORY_RULE) * factor / pack
        return Rate(
            shared * factor / pack, rule, each.input, spec.expected_output_tokens * each.output
        )


@dataclass(frozen=True)
class Rate:
    """What the items of a version have in common on a lane: input tokens of each, as plain ones that cost as much, those of
    the rule about history, and US dollars of a token and an answer."""

    shared: Decimal
    rule: Decimal
    into: Decimal
    answer: Decimal

    def of(self, own: int, *, told: bool = False) -> Decimal:
        """Return the price of an item with `own` input tokens of its own; `told`: some of them are its history."""
        shared = self.shared + self.rule if told else self.shared
        return ((shared + own) * self.into + self.answer).quantize(NANO_USD)


def upper_bound(
    version: "Version", size: int, *, lane: Lane, marked: bool = True, at: datetime
) -> Decimal:
    """Return the most that one item's call can have cost in US dollars; `size` is the item's `call_bytes`.

    A token for every byte that is sent, the longest answer, and the shared part written to the provider's cache, unless the
    call is known not to be `marked`. 0 where the price of the model is no longer known.
    """
    return pack_bound(version, size, items=1, lane=lane, marked=marked, at=at)


def pack_bound(
    version: "Version", size: int, *, items: int, lane: Lane, marked: bool = True, at: datetime
) -> Decimal:
    """Return the most that one call for `items` items can have cost in US dollars; `size` is the sum of their `call_bytes`.

    The bounds of items alone add up to at least the bound of a call that they share, as long as its prompt stays below the
    prices of longer ones (`pack_bounds.most_bytes`). 0 where the price of the model is no longer known.
    """
    spec = version.spec
    shared = shared_bytes(spec)
    if spec.history_items and lane is Lane.BATCH:
        shared += octets(HISTORY_RULE)
    own = size + (items - 1) * FRAME_CHARS  # the frame holds the name of an item that stands alone
    output = items * (spec.max_output_tokens + PACK_MARGIN_TOKENS)
    plain = Usage(input=shared + own, output=output)
    dearest = replace(written(lane, shared), input=own, output=output) if marked else plain
    try:
        return max(
            cost(each, model=spec.model_of(lane), lane=lane, at=at) for each in {plain, dearest}
        )
    except LookupError:
        return Decimal(0)


def shared_bytes(spec: "Spec") -> int:
    """Return the most bytes that every call of a workload repeats: instructions, output schema and what frames both.

    The SDK rewrites the schema: it moves what the provider does not know into descriptions, escaped, and closes every object.
    """
    schema = json.dumps(spec.output_schema)
    rewritten = len(json.dumps(schema)) + schema.count("{") * PER_SCHEMA_BYTES
    return octets(spec.instructions) + rewritten + FRAME_BYTES


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """`total` divided among `weights` by the largest remainder: whole parts that sum exactly to `total`.

    Equal remainders go to the earlier part. Weights that are all zero share equally.
    Source: Hamilton's method of apportionment.
    """
    if not weights:
        return []
    if sum(weights) == 0:
        weights = [1] * len(weights)
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def allocate_usd(total: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """US dollars divided in the same way, in units of the ledger's last digit, or the total's own where it is finer."""
    exponent = total.as_tuple().exponent
    assert isinstance(exponent, int)
    decimals = max(-exponent, LEDGER_DIGITS)
    return [
        Decimal(part).scaleb(-decimals) for part in allocate(int(total.scaleb(decimals)), weights)
    ]


def divided(used: Usage, usd: Decimal, number: int) -> list[Part]:
    """Each item's part of a response that so many of them shared; the parts sum exactly to it."""
    if number == 1:
        return [Part(used.input, used.output, used.cache_read, used.cache_write, usd)]
    even = [1] * number
    shares = zip(
        allocate(used.input, even),
        allocate(used.output, even),
        allocate(used.cache_read, even),
        allocate(used.cache_write, even),
        allocate_usd(usd, even),
        strict=True,
    )
    return list(starmap(Part, shares))
