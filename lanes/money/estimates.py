"""Estimates of an item's cost on each lane, given how calls currently share their context."""

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
CACHED_BY_ALL = 4_096  # tokens; every model caches a prefix of this length


@dataclass(frozen=True)
class Sharing:
    """The pack sizes in force and the hit rates where all calls mark; the defaults are full packs and no cache.

    `passes` maps versions that skip some second passes to the share of early answers that get one.
    """

    sizes: PackSizes = field(default_factory=PackSizes)
    hit_rates: HitRates = field(default_factory=dict[tuple[VersionId, Lane], float])
    passes: Mapping[VersionId, float] = field(default_factory=dict[VersionId, float])

    def pack_of(self, version: "Version", lane: Lane) -> int:
        """Return the number of the version's items in a full call."""
        return self.sizes.of(version, lane)

    def passes_of(self, version: "Version") -> float:
        """Return the known share of the version's real-time answers that get a second pass; 1 in Lambda mode if unknown."""
        return self.passes.get(version.id, 1.0) if version.spec.mode is Mode.LAMBDA else 0.0

    def like(self, version: "Version", *others: "Version") -> "Sharing":
        """Return the same sharing, with this version's second passes and hit rates also applied to the other versions.

        Hit rates apply on a lane where both versions call the same model and the other's prefix is surely long enough to be
        cached; second passes apply where both versions have the same rule for them.
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
    """Return whether the other version's prefix is surely long enough for the cache, given that this version's is."""
    return estimate_shared_tokens(other.spec) >= min(
        estimate_shared_tokens(version.spec), CACHED_BY_ALL
    )


@dataclass(frozen=True)
class Estimate:
    """The cost of one item on each lane in US dollars, packing included, rounded to a billionth."""

    realtime: Decimal
    batch: Decimal

    @cached_property
    def less_in_batch(self) -> float:
        """Return what a batch saves, in US dollars; negative if the batch costs more."""
        return float(self.realtime - self.batch)


@dataclass(frozen=True)
class Rate:
    """The prices that a version's items have in common on a lane.

    `shared` and `rule` are input tokens of each item, converted to plain ones; `into` is the price of an input token and
    `answer` that of an answer, both in US dollars.
    """

    shared: Decimal
    rule: Decimal
    into: Decimal
    answer: Decimal

    def of(self, own: int, *, told: bool = False) -> Decimal:
        """Return the price of an item with `own` input tokens of its own; `told` states that some of them are context."""
        shared = self.shared + self.rule if told else self.shared
        return ((shared + own) * self.into + self.answer).quantize(NANO_USD)


class Estimates:
    """The costs of items at one day's prices; values that a version's items have in common are computed once.

    Calls are as full, and cached as often, as `sharing` states; without it, as full as the workload allows and never cached.
    """

    def __init__(self, at: datetime, sharing: Sharing | None = None) -> None:
        self._day, self._sharing = at.replace(hour=0, minute=0, second=0, microsecond=0), sharing
        self._rates: dict[VersionId, tuple[Rate, Rate]] = {}
        self._known: dict[tuple[VersionId, int, int], Estimate] = {}

    def of(self, version: "Version", payload_chars: int, history_chars: int = 0) -> Estimate:
        """Return the estimated cost on each lane of an item with `payload_chars` characters.

        `history_chars` is the length of its earlier items and revisions. The batch lane reads them and the reference rows,
        which count at their maximum length; the real-time lane reads neither.

        Raises:
            LookupError: a model of the version has no known price.
        """
        history_chars += version.spec.context.reference_chars
        own, told = (
            tokens(payload_chars),
            tokens(payload_chars + history_chars) if history_chars else 0,
        )
        cached = self._known.get((version.id, own, told))
        if cached is not None:
            return cached
        rates = self._rates.get(version.id)
        if rates is None:
            shared = estimate_shared_tokens(version.spec)
            rates = self._rates[version.id] = (
                self._rate(version, Lane.REALTIME, shared),
                self._rate(version, Lane.BATCH, shared),
            )
        realtime, batch = rates
        in_batch = batch.of(told, told=True) if history_chars else batch.of(own)
        estimate = self._known[version.id, own, told] = Estimate(
            realtime=realtime.of(own), batch=in_batch
        )
        return estimate

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
        rule_tokens = tokens(rule(spec.context.parts)) * factor / pack
        return Rate(
            shared * factor / pack,
            rule_tokens,
            each.input,
            spec.expected_output_tokens * each.output,
        )
