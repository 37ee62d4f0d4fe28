"""What the calls of a drain take of the provider's limits, by what is known of their workloads. Pure."""

from collections.abc import Mapping, Sequence

from lanes.ids import VersionId
from lanes.json_data import characters
from lanes.money.cost import most_answer_tokens, tokens
from lanes.money.pack_bounds import most_items
from lanes.packing import ClaimedWork
from lanes.routing.capacity import Need
from lanes.routing.prediction import Prediction, unlearned
from lanes.words import Lane
from lanes.workload.version import Version

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
