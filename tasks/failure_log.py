"""What failed stands in a run's log as a warning: at once where its kind is new, summed up where it goes on."""

from collections.abc import Iterable, Sequence

from prefect.logging import get_run_logger

from lanes.promises.failures import Failed, kind_of
from lanes.provider.answering import Called
from lanes.provider.errors import CallFailed
from lanes.settling.outcome import Attempt
from lanes.text import remove_quotes
from lanes.words import Outcome
from lanes.workload.version import Version

Kind = tuple[str, str, bool]


class FailureLog:
    """The failures of one drain. However many calls fail, the log grows by a line a minute and kind."""

    def __init__(self) -> None:
        self._said: set[Kind] = set()
        self._again: dict[Kind, Failed] = {}

    def met(self, failures: Iterable[Failed]) -> None:
        """They stand in the log, or will with the next summary."""
        new: dict[Kind, Failed] = {}
        for each in failures:
            kind = each.workload, kind_of(each.error), bool(each.calls)
            among = self._again if kind in self._said else new
            among[kind] = among[kind].more(each) if kind in among else each
        for each in new.values():
            get_run_logger().warning("%s", each.sentence)
        self._said |= set(new)

    def sum_up(self) -> None:
        """What went on since the last summary stands in the log. What did not is news when it is met again."""
        for each in self._again.values():
            get_run_logger().warning("again since then: %s", each.sentence)
        self._said = set(self._again)
        self._again = {}


def failed(version: Version, called: Called, failure: CallFailed) -> Failed:
    """A call that was not answered, in words that quote none of its items."""
    items = [*called.pack, *called.untried]
    said = remove_quotes(str(failure), [each.payload for each in items])
    return Failed(version.workload, said, len(items), calls=1)


def unusable(version: Version, answered: Sequence[Attempt]) -> list[Failed]:
    """Answers that were paid for in vain."""
    bad = [each.judged for each in answered if each.judged.outcome is not Outcome.VALID]
    return [
        Failed(version.workload, remove_quotes(each.error or each.outcome), 1, calls=0)
        for each in bad
    ]
