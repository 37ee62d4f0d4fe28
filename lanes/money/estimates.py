"""Estimates of what an item costs on each lane, as calls share their context at present."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from lanes.ids import VersionId
from lanes.money.caching import HitRates, cache_prices
from lanes.money.cost import estimate_shared_tokens, tokens
from lanes.money.pack_size import PackSizes
from lanes.words import Lane, Mode
from lanes.workload.prices import per_token

if TYPE_CHECKING:
    from lanes.workload.version import Version

NANO_USD = Decimal("0.000000001")
CACHED_BY_ALL = 4_096  # tokens: no model's shortest prefix that is cached is longer


@dataclass(frozen=True)
class Sharing:
    """The pack sizes in force, and the cache's hit rates of calls that all mark; by default full packs and no cache.

    `passes` are the shares of early answers that get a second pass, of versions that leave some out.
    """

    sizes: PackSizes = field(default_factory=PackSizes)
    hit_rates: HitRates = field(default_factory=dict[tuple[VersionId, Lane], float])
    passes: Mapping[VersionId, float] = field(default_factory=dict[VersionId, float])

    def pack_of(self, version: "Version", lane: Lane) -> int:
        """Return how many items of the version share a full call."""
        return self.sizes.of(version, lane)

    def passes_of(self, version: "Version") -> float:
        """Return the share of the version's real-time answers that get a second pass, as far as is known."""
        return self.passes.get(version.id, 1.0) if version.spec.mode is Mode.LAMBDA else 0.0

    def like(self, version: "Version", *others: "Version") -> "Sharing":
        """Return the same sharing, with the version's second passes and hit rates for the other versions too.

        The latter holds on lanes where they ask the same model and share a prefix that is surely long enough for the cache.
        """
        alike = {
            (each.id, lane): rate
            for (id_, lane), rate in self.hit_rates.items()
            for each in others
            if id_ == version.id
            and each.spec.model_of(lane) == version.spec.model_of(lane)
            and _is_cached(each, version)
        }
        passes = dict(self.passes)
        for each in others:
            if version.id in passes and each.spec.second_pass == version.spec.second_pass:
                passes[each.id] = passes[version.id]
        return Sharing(self.sizes, {**self.hit_rates, **alike}, passes)


def _is_cached(other: "Version", version: "Version") -> bool:
    """Return whether the other version's prefix is surely long enough for the cache, given that the version's is."""
    return estimate_shared_tokens(other.spec) >= min(
        estimate_shared_tokens(version.spec), CACHED_BY_ALL
    )


@dataclass(frozen=True)
class Estimate:
    """US dollars of one item on each lane, packing included, rounded to a billionth."""

    realtime: Decimal
    batch: Decimal

    @cached_property
    def less_in_batch(self) -> float:
        """Return what a batch saves, negative where it is dearer."""
        return float(self.realtime - self.batch)


@dataclass(frozen=True)
class Rate:
    """The prices that items of a version have in common on a lane.

    `shared` and `rule` are input tokens of each item, converted to plain ones; `into` and `answer` are US dollars of an input
    token and of an answer.
    """

    shared: Decimal
    rule: Decimal
    into: Decimal
    answer: Decimal

    def of(self, own: int, *, told: bool = False) -> Decimal:
        """Return the price of an item with `own` input tokens of its own; `told` says that some of them are context."""
        shared = self.shared + self.rule if told else self.shared
        return ((shared + own) * self.into + self.answer).quantize(NANO_USD)


class Estimates:
    """The costs of items at one day's prices; what all items of a version have in common is computed once.

    Calls are as full, and cached as often, as `sharing` says; without it as full as their workload allows, and never cached.
    """

    def __init__(self, at: datetime, sharing: Sharing | None = None) -> None:
        self._day, self._sharing = at.replace(hour=0, minute=0, second=0, microsecond=0), sharing
        self._rates: dict[VersionId, tuple[Rate, Rate]] = {}
        self._known: dict[tuple[VersionId, int, int], Estimate] = {}

    def of(self, version: "Version", payload_chars: int, history_chars: int = 0) -> Estimate:
        """Return what an item of `payload_chars` characters would cost on each lane.

        `history_chars` are those of its earlier items and revisions. The batch lane reads them, and reference rows, which count
        with the most that they may have; real time does not.

        Raises:
            LookupError: no price is known for one of its models.
        """
        history_chars += version.spec.context.reference_chars
        own, told = (
            tokens(payload_chars),
            tokens(payload_chars + history_chars) if history_chars else 0,
        )
        known = self._known.get((version.id, own, told))
        if known is not None:
            return known
        rates = self._rates.get(version.id)
        if rates is None:
            shared = estimate_shared_tokens(version.spec)
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

    def _rate(self, version: "Version", lane: Lane, shared: int) -> Rate:
        from lanes.workload.context import rule

        spec, sharing = version.spec, self._sharing
        each = per_token(spec.model_of(lane), lane, self._day)
        pack = sharing.pack_of(version, lane) if sharing else spec.pack_of(lane)
        factor, hit_rate = (
            Decimal(1),
            sharing.hit_rates.get((version.id, lane)) if sharing else None,
        )
        if hit_rate is not None:
            factor = Decimal(cache_prices(spec.model_of(lane), lane, at=self._day).factor(hit_rate))
        told = tokens(rule(spec.context.parts)) * factor / pack
        return Rate(
            shared * factor / pack, told, each.input, spec.expected_output_tokens * each.output
        )
