"""What the report has of how long batches were under way, and items of real time waited: figures of durations alone."""

from collections.abc import Mapping
from datetime import datetime

from lanes.figures.durations import Durations
from lanes.figures.kinds import Kind
from lanes.store.asking import Ask
from lanes.store.figures.spread import added_up

TIMED = """
select workload, kind, buckets, counts from lanes.figure_hist_since('{batch,buffer,gathered}', :since)
 where kind <> 'batch' or word in ('ended', 'collected')
"""


class Timed:
    """The durations of the period from the minute of `since` on, by workload."""

    def __init__(self, ask: Ask, since: datetime) -> None:
        self._took = added_up(ask(TIMED, since=since), "kind", "workload")

    @property
    def batches(self) -> Mapping[str, Durations]:
        """From submitted to ended, of those that ended."""
        return self._of(Kind.BATCH)

    @property
    def waits(self) -> Mapping[str, Durations]:
        """From received to asked, of items that real time asked for: its window is among that."""
        return self._of(Kind.BUFFER)

    @property
    def windows(self) -> Mapping[str, Durations]:
        """How long items gathered before they were asked for."""
        return self._of(Kind.GATHERED)

    def _of(self, kind: Kind) -> Mapping[str, Durations]:
        return {workload: took for (of, workload), took in sorted(self._took.items()) if of == kind}
