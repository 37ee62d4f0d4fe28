"""Whether the batch lane is healthy, and what is wrong with one batch: the one judgement that every face shows.

The promises say it: what is wrong is an open incident, or a batch that is held until a person decides.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from lanes.ids import BatchId
from lanes.promises.batch_runs import of_batch
from lanes.promises.incident import TERMS, Incident, IncidentState, Promise, lane_of
from lanes.units import counted
from lanes.words import BatchState, Lane


class Batch(Protocol):
    """A batch as far as its health goes."""

    @property
    def batch_id(self) -> BatchId: ...
    @property
    def workload(self) -> str: ...
    @property
    def state(self) -> str: ...


def trouble(of: Batch, incidents: Iterable[Incident]) -> str | None:
    """What is wrong with a batch in a few words: its broken promises, or that it is held; None when nothing is."""
    named = (each for each in _broken(incidents) if each.subject == of_batch(of.batch_id))
    broken = _titles(each for each in named if each.workload == of.workload)
    return broken or (str(of.state) if of.state == BatchState.HELD else None)


def health(batches: Sequence[Batch], incidents: Sequence[Incident]) -> str:
    """The batch lane in a few words: "batch healthy", or the promises that are broken and the batches that are held."""
    held = sum(trouble(each, incidents) == BatchState.HELD for each in batches)
    said = [_titles(_broken(incidents)), f"{counted(held, 'batch')} held" if held else ""]
    return ", ".join(filter(None, said)) or ("batch healthy" if batches else "no batches")


def _broken(incidents: Iterable[Incident]) -> Iterator[Incident]:
    """The open incidents of the batch lane."""
    for each in incidents:
        either = (Promise.AUTHORITATIVE_FAILED, Promise.PROVIDER_FROZEN)
        of_lane = lane_of(each.promise) is Lane.BATCH or each.promise in either
        if each.state is IncidentState.OPEN and of_lane:
            yield each


def _titles(incidents: Iterable[Incident]) -> str:
    titles = Counter(TERMS[Promise(each.promise)].title for each in incidents)
    named = (
        title[0].lower() + title[1:] + (f" ({number})" if number > 1 else "")
        for title, number in titles.items()
    )
    return ", ".join(named)
