"""The provider's limits as a drain's calls meet them: what begins, what an answer tells, what it used. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from lanes.ids import VersionId
from lanes.json_data import characters
from lanes.money.cost import most_answer_tokens, tokens
from lanes.money.pack_size import most_items
from lanes.packing import Claim, ClaimedWork
from lanes.realtime.headers import told
from lanes.realtime.rate_limits import RateLimits, presses
from lanes.routing.capacity import Limit, Need, Prediction, unlearned
from lanes.words import Lane
from lanes.workload.prices import Usage
from lanes.workload.version import Version


class CallLimits:
    """Those of one drain. A call is known by the claim of its first item."""

    def __init__(self) -> None:
        self.rates, self.needs = RateLimits(), Needs()

    def begins(self, version: Version, pack: Sequence[ClaimedWork], now: datetime) -> bool:
        """Whether the call begins; then it is charged, and `ended` is owed."""
        need = self.needs.of(version, pack)
        return self.rates.begins(
            _key(pack), version.spec.realtime_model, need, presses=presses(pack, now), now=now
        )

    def begun(self, version: Version, pack: Sequence[ClaimedWork], now: datetime) -> None:
        """Charge a call that is in flight, even if these limits did not admit it."""
        if not self.rates.is_under_way(_key(pack)):
            self.rates.begun(
                _key(pack), version.spec.realtime_model, self.needs.of(version, pack), now=now
            )

    def heard(
        self,
        version: Version,
        pack: Sequence[ClaimedWork],
        headers: Mapping[str, str],
        now: datetime,
    ) -> None:
        """An answer to the call, whatever its status, came with these headers.

        Reading them takes a moment: while much is left, a few a second are read.
        """
        if self.rates.is_ample(version.spec.realtime_model, now):
            return
        self.rates.told(
            version.spec.realtime_model, told(headers, now=now), key=_key(pack), now=now
        )

    def ended(
        self,
        pack: Sequence[ClaimedWork],
        used: Iterable[Usage],
        now: datetime,
        *,
        requests: int,
        maybe_billed: bool = False,
    ) -> None:
        """Settle the charge of a pack that has ended.

        It took `requests` requests (0: it was never asked), whose answers report the usage `used`. With `maybe_billed`, the
        provider may have billed more than that, so the usage counts as unknown.
        """
        answers = list(used)
        counted = sum(each.input + each.cache_write for each in answers)
        need = Need(counted, sum(each.output for each in answers), requests)
        self.rates.ended(_key(pack), None if maybe_billed else need, now=now)

    def room(self, version: Version, *, pressing: bool, now: datetime) -> int | None:
        """How many usual calls of the version may begin; None where nothing holds them back."""
        return self.rates.room(
            version.spec.realtime_model, self.needs.usual(version), presses=pressing, now=now
        )

    def next_moment(self, now: datetime) -> datetime | None:
        """When what was held back may begin."""
        return self.rates.next_moment(now)

    def still_held(self, versions: Iterable[Version]) -> None:
        """Packs of these alone are waiting."""
        self.rates.still_held({each.spec.realtime_model for each in versions})

    @property
    def hold_back(self) -> bool:
        """Whether calls wait for a limit: another drain would change nothing."""
        return self.rates.holds_back()

    def seen(self) -> Mapping[str, Sequence[Limit]]:
        """The newest limits by model."""
        return self.rates.seen()


def _key(pack: Sequence[ClaimedWork]) -> Claim:
    return pack[0].claim


KEPT = 256  # versions of which the newest call is remembered


class Needs:
    """By the predictions that it was told, or else by the workloads' settings."""

    def __init__(self) -> None:
        self._learned: Mapping[str, Prediction] = {}
        self._empty: dict[
            VersionId, tuple[float, float]
        ] = {}  # input of a call without items, and of each token of theirs
        self._newest: dict[VersionId, tuple[Version, Need]] = {}

    @property
    def met(self) -> Sequence[Version]:
        """The versions of newest calls, one of each workload."""
        return [*{version.workload: version for version, _ in self._newest.values()}.values()]

    def learn(self, predictions: Mapping[str, Prediction]) -> None:
        """This is what is known of the workloads from now on."""
        self._learned = predictions
        self._empty.clear()

    def of(self, version: Version, pack: Sequence[ClaimedWork]) -> Need:
        """What the call takes when it begins: its input as predicted, and the longest answer that it asks for."""
        empty, ratio = self._empty.get(version.id) or self._learn_empty(version)
        chars = sum(characters(each.payload) for each in pack)
        need = Need(empty + ratio * tokens(chars), most_answer_tokens(version.spec, len(pack)))
        if any(each.measures for each in pack):
            return need  # no usual call: it is alone
        while len(self._newest) >= KEPT and version.id not in self._newest:
            del self._newest[next(iter(self._newest))]
        self._newest[version.id] = version, need
        return need

    def _learn_empty(self, version: Version) -> tuple[float, float]:
        known = self._learned.get(version.workload) or unlearned(version.spec)
        made = self._empty[version.id] = known.input_of(version.spec, 0), known.input_ratio
        return made

    def usual(self, version: Version) -> Need:
        """What a call of the version will take: as much as its newest, or as the first can take at least."""
        known = self._newest.get(version.id)
        return (
            known[1]
            if known
            else Need(0, most_answer_tokens(version.spec, most_items(version.spec, Lane.REALTIME)))
        )
