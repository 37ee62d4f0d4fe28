"""The lines of a batch's results as one reading meets them: which are results, and what the others are. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from lanes.provider.results import RequestResult, Unreadable
from lanes.settling.outcome import Response
from lanes.units import counted

Line = RequestResult | Unreadable
NAMELESS = "no line that can be read names it"


class Lines:
    """Keep count of the lines that one reading of a batch's results has met so far."""

    def __init__(self, nonce: str, requests: int) -> None:
        self._nonce, self._requests = nonce, requests
        self.seen: set[int] = set()  # numbers of the requests whose result was read
        self.answered: set[int] = set()  # and of those that were answered
        self._unreadable: dict[
            int, str
        ] = {}  # why the line of a request cannot be read, by its number
        self._nameless = 0  # lines of which not even the request can be read
        self._strays: Counter[str] = (
            Counter()
        )  # lines without a result of a request, by what is wrong with them

    @property
    def are_foreign(self) -> bool:
        """Whether lines of other batches were met, and none of this one."""
        return bool(self._strays["of other batches"]) and not (self.seen or self._unreadable)

    def proof(self, chunk: Iterable[Line]) -> str | None:
        """Return the nonce that tells whose results these are, None where no line has one.

        One line with our nonce proves all of them ours, whatever else they hold: no provider can guess it.
        """
        nonces = [line.nonce for line in chunk if line.nonce]
        return self._nonce if self._nonce in nonces else next(iter(nonces), None)

    def ours(self, chunk: Sequence[Line]) -> list[RequestResult]:
        """Return the results of the batch's own requests; all other lines are counted by what is wrong with them."""
        ours = list(self._ours(chunk))
        self.seen.update(each.number for each in ours)
        self.answered.update(each.number for each in ours if isinstance(each.said, Response))
        return ours

    def _ours(self, chunk: Sequence[Line]) -> Iterator[RequestResult]:
        for line in chunk:
            if isinstance(line, Unreadable):
                self._strays["that cannot be read"] += 1
                if line.nonce == self._nonce and 0 <= line.number < self._requests:
                    self._unreadable[line.number] = line.why
                self._nameless += not line.nonce
            elif line.nonce != self._nonce:
                self._strays["of other batches"] += 1
            elif not 0 <= line.number < self._requests:
                self._strays["of requests that it does not have"] += 1
            else:
                yield line

    def unreadable(self, lacking: Iterable[int]) -> dict[int, str]:
        """Return why no result of these requests can be read, by number, for those of them whose lines came.

        A line that does not say which request it is of stands for one that lacks its line. Where there are as many of such
        lines as of such requests, no other line can come for any of them.
        """
        found = {
            number: self._unreadable[number] for number in lacking if number in self._unreadable
        }
        lost = [number for number in lacking if number not in found]
        return found | (dict.fromkeys(lost, NAMELESS) if len(lost) <= self._nameless else {})

    def strays(self) -> str:
        """Return a clause about the lines that are no result of a request; empty when there were none."""
        kinds = [
            f"{counted(number, 'line')} {what}" for what, number in sorted(self._strays.items())
        ]
        return f" with {' and '.join(kinds)}" if kinds else ""
