"""What the report has of how long batches were under way, and items of real time waited: figures of durations alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from lanes.figures.kinds import Kind
from lanes.store.asking import Ask
from lanes.store.figures.percentiles import percentiles

TIMED = f"""
with took as (
  select workload, kind, bucket, n from lanes.figure_hist_since('{{batch,buffer}}', :since)
   where kind = 'buffer' or word in ('ended', 'collected')),
shares as ({percentiles("took", by="workload, kind", p50_s=0.5, p95_s=0.95)}),
totals as (select workload, kind, sum(n * lanes.figure_seconds(bucket)) as total_s from took group by 1, 2)
select workload, kind, timed, p50_s, p95_s, total_s from shares join totals using (workload, kind)
"""


@dataclass(frozen=True)
class Took:
    """How long so many took, in seconds: half of them, 95 of a hundred, all together."""

    timed: int
    p50_s: float
    p95_s: float
    total_s: float


class Timed:
    """The durations of the period from the minute of `since` on, by workload."""

    def __init__(self, ask: Ask, since: datetime) -> None:
        rows = ask(TIMED, since=since)
        self._took = {(row.kind, row.workload): Took(row.timed, row.p50_s, row.p95_s, row.total_s) for row in rows}

    @property
    def batches(self) -> Mapping[str, Took]:
        """From submitted to ended, of those that ended."""
        return self._of(Kind.BATCH)

    @property
    def waits(self) -> Mapping[str, Took]:
        """From received to asked, of items that real time asked for: its window is among that."""
        return self._of(Kind.BUFFER)

    def _of(self, kind: Kind) -> Mapping[str, Took]:
        return {workload: took for (of, workload), took in sorted(self._took.items()) if of == kind}
