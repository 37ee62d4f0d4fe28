"""How calls share: how many items have one, and which part of what all of them repeat is read from the cache. Pure."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lanes.ids import VersionId
from lanes.money.caching import HitRates
from lanes.money.cost import shared_tokens
from lanes.money.pack_size import PackSizes
from lanes.words import Lane

if TYPE_CHECKING:
    from lanes.workload.version import Version

CACHED_BY_ALL = 4_096  # tokens: no model's shortest prefix that is cached is longer


@dataclass(frozen=True)
class Sharing:
    """The pack sizes in force, and the hit rates of what all calls mark for the provider's cache; by default what workloads
    allow, and no cache."""

    sizes: PackSizes = field(default_factory=PackSizes)
    hit_rates: HitRates = field(default_factory=dict[tuple[VersionId, Lane], float])

    def pack_of(self, version: "Version", lane: Lane) -> int:
        """How many items of the version share a full call."""
        return self.sizes.of(version, lane)

    def like(self, version: "Version", *others: "Version") -> "Sharing":
        """The same, where calls of the others find what they share in the cache as often as those of this version: on lanes
        where they ask the same model, and share enough for it to be cached there."""
        alike = {
            (each.id, lane): rate
            for (id_, lane), rate in self.hit_rates.items()
            for each in others
            if id_ == version.id
            and each.spec.model_of(lane) == version.spec.model_of(lane)
            and _is_cached(each, version)
        }
        return Sharing(self.sizes, {**self.hit_rates, **alike})


def _is_cached(other: "Version", version: "Version") -> bool:
    """Whether what calls of the other share is surely long enough for the cache, as that of the version is known to be."""
    return shared_tokens(other.spec) >= min(shared_tokens(version.spec), CACHED_BY_ALL)
