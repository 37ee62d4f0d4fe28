"""One who waits for an item's result, wherever that is: the future is of no event loop."""

from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

from lanes.client.verbs import never
from lanes.settling.listing import NoResult, ResultRequest
from lanes.store.settling.results import Result


@dataclass(eq=False)
class Waiter:
    """One who waits. `final`: whatever the next look finds is the answer, nothing too."""

    asked: ResultRequest
    final: bool
    found: Future[Result | None] = field(default_factory=Future)

    def tell(self, found: Result | NoResult) -> None:
        """What a look found."""
        if isinstance(found, Result):
            self._end(found)
        elif (why := never(self.asked, found)) is not None:
            self.fail(why)
        elif self.final:
            self._end(None)

    def fail(self, why: BaseException) -> None:
        """There is no answer, and why."""
        self._end(why)

    def _end(self, how: Result | BaseException | None) -> None:
        try:
            if isinstance(how, BaseException):
                self.found.set_exception(how)
            else:
                self.found.set_result(how)
        except InvalidStateError:
            """It has an answer, or has left."""
