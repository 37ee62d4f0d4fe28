"""The provider's limits as a limiter: what a drain's calls need, what answers tell, and which calls fit."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from lanes.ids import VersionId
from lanes.money.cost import most_answer_tokens, tokens
from lanes.money.pack_size import most_items
from lanes.realtime.headers import told
from lanes.realtime.limiter import MAY_START, Limiter, MayStart, Pack, Wait
from lanes.realtime.token_buckets import TokenBuckets
from lanes.realtime.waits import WaitReason
from lanes.routing.capacity import Need, Prediction, unlearned
from lanes.words import Lane
from lanes.workload.version import Version

SOON = timedelta(seconds=1)  # calls that fit by then are claimed, and kept
KEPT = 256  # versions of which the newest call is remembered


class CallNeeds:
    """What calls take of the limits: by the predictions that were learned, else by the workloads' settings."""

    def __init__(self) -> None:
        self._learned: Mapping[str, Prediction] = {}
        # input of a call without items, and of each token of its items
        self._empty: dict[VersionId, tuple[float, float]] = {}
        self._newest: dict[VersionId, tuple[Version, Need]] = {}

    @property
    def versions(self) -> Sequence[Version]:
        """The versions of the newest calls, one of each workload."""
        return [*{version.workload: version for version, _ in self._newest.values()}.values()]

    def learn(self, predictions: Mapping[str, Prediction]) -> None:
        """Use these predictions, by workload, from now on."""
        self._learned = predictions
        self._empty.clear()

    def of(self, pack: Pack) -> Need:
        """Return what the call takes when it starts: its input as predicted, and the longest answer that it asks for."""
        version = pack.version
        empty, ratio = self._empty.get(version.id) or self._learn_empty(version)
        need = Need(
            empty + ratio * tokens(pack.characters),
            most_answer_tokens(version.spec, len(pack.items)),
        )
        if pack.measures:
            return need  # shadows are alone, and so no usual calls
        while len(self._newest) >= KEPT and version.id not in self._newest:
            del self._newest[next(iter(self._newest))]
        self._newest[version.id] = version, need
        return need

    def usual(self, version: Version) -> Need:
        """Return the need of the version's newest call, or the least that its first call can need."""
        known = self._newest.get(version.id)
        if known is not None:
            return known[1]
        return Need(0, most_answer_tokens(version.spec, most_items(version.spec, Lane.REALTIME)))

    def _learn_empty(self, version: Version) -> tuple[float, float]:
        known = self._learned.get(version.workload) or unlearned(version.spec)
        made = self._empty[version.id] = known.input_of(version.spec, 0), known.input_ratio
        return made


class RateLimits(Limiter):
    """The provider's limits for one drain."""

    def __init__(self) -> None:
        self.buckets, self.needs = TokenBuckets(), CallNeeds()

    def heard(self, pack: Pack, headers: Mapping[str, str], now: datetime) -> None:
        """Learn from the headers of an answer, whatever its status; while much is left, only a few a second are read."""
        if not self.buckets.is_ample(pack.model, now):
            self.buckets.told(pack.model, told(headers, now=now), key=pack.id, now=now)

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Admit a pack whose need every limit of its model holds."""
        until = self.buckets.wait(
            pack.model, self.needs.of(pack), presses=pack.presses(now), since=pack.since, now=now
        )
        return MAY_START if until is None else Wait(until, WaitReason.RATE_LIMIT)

    def room(self, version: Version, now: datetime) -> int | None:
        """Return how many usual calls fit within a second, with the reserve."""
        return self._room(version, True, now)

    def only_reserve(self, version: Version, now: datetime) -> bool:
        """Return whether only a pack that presses fits within a second."""
        return self._room(version, False, now) == 0

    def started(self, pack: Pack, now: datetime) -> None:
        """Charge the call."""
        self.buckets.begun(pack.id, pack.model, self.needs.of(pack), now=now)

    def ended(self, pack: Pack, used: Need | None, now: datetime) -> None:
        """Give back what the call did not use."""
        self.buckets.ended(pack.id, used, now=now)

    def _room(self, version: Version, presses: bool, now: datetime) -> int | None:
        need = self.needs.usual(version)
        return self.buckets.room(version.spec.realtime_model, need, presses=presses, now=now + SOON)
