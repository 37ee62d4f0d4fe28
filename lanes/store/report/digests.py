"""The figures of the daily digest."""

from datetime import datetime
from typing import TYPE_CHECKING

from lanes.report.digest import DailyFigures
from lanes.store import asking
from lanes.store.advice import proposals
from lanes.store.report import snapshot
from lanes.store.states import OPEN_ROLLOUT
from lanes.words import ProposalState

if TYPE_CHECKING:
    from sqlalchemy import Connection

INCIDENTS = """
select count(*) filter (where opened_at >= :since) as opened, count(*) filter (where resolved_at >= :since) as ended
  from lanes.incident where resolved_at is null or resolved_at >= :since
"""
# The newest accuracy measurement of each open rollout that lacks labels.
LACKING = f"""
select workload || ': ' || explanation as line
  from (select distinct on (r.id) r.workload, m.verdict, m.explanation
          from lanes.rollout r join lanes.rollout_measurement m on m.rollout_id = r.id and m.measure = 'accuracy'
         where r.state in {OPEN_ROLLOUT} order by r.id, m.id desc) newest
 where verdict = 'inconclusive' order by 1
"""


def take(connection: "Connection", *, since: datetime, now: datetime) -> DailyFigures:
    """Return the figures since `since`, with the decisions and labels that people still owe."""
    ask = asking.through(connection)
    (changed,) = ask(INCIDENTS, since=since)
    listed = proposals.listing(connection, None, now=now)
    undecided = [each for each in listed if each.state is ProposalState.OPEN]
    lacking = [row.line for row in ask(LACKING)]
    figures = snapshot.take_through(ask, since=since, now=now)
    return DailyFigures(figures, changed.opened, changed.ended, undecided, lacking)
