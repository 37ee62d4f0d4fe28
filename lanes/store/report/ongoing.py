"""What goes on, however long ago it began, and what of its kind ended in the period: incidents, circuits and rollouts."""

from datetime import datetime
from typing import TYPE_CHECKING

from lanes.promises.incident import Incident, IncidentState, Promise, Severity
from lanes.realtime.circuit import CircuitState
from lanes.report.capacity import CircuitFigures
from lanes.store.asking import Ask

if TYPE_CHECKING:
    from lanes.rollouts.rollout import Rollout

# Every open one, newest first, and then the newest of those that were opened in the period and ended.
INCIDENTS = """
with listed as (
  (select i.* from lanes.incident i where i.state = 'open')
  union all
  (select i.* from lanes.incident i where i.state = 'resolved' and i.opened_at >= :since order by i.id desc limit :most))
select id, uid::text as uid, promise, workload, subject, severity, state, value, limit_value, samples, unit, sentence,
       opened_at, updated_at, resolved_at, why, opened_value, flow_run_id, block_id, briefing, parent_id
  from listed order by state = 'open' desc, id desc
"""

CIRCUITS = """
select account, model, state, began_at as since, faults, why
  from lanes.outage where over_at is null and state <> 'closed' order by account, model
"""

ROLLOUTS = """
select * from lanes.rollout where state in ('running', 'waiting_approval') or ended_at >= :since order by id desc
"""


def incidents(ask: Ask, since: datetime, *, most: int) -> list[Incident]:
    """Every open incident, newest first, and then the newest `most` of those that were opened since then and ended."""
    return [
        Incident(
            **row._asdict()
            | {
                "promise": Promise(row.promise),
                "severity": Severity(row.severity),
                "state": IncidentState(row.state),
            }
        )
        for row in ask(INCIDENTS, since=since, most=most)
    ]


def circuits(ask: Ask) -> list[CircuitFigures]:
    """Those that are not closed."""
    return [
        CircuitFigures(**row._asdict() | {"state": CircuitState(row.state)})
        for row in ask(CIRCUITS)
    ]


def rollouts(ask: Ask, since: datetime) -> "list[Rollout]":
    """The open rollouts and those that ended since then, newest first."""
    rows = ask(ROLLOUTS, since=since)
    if not rows:
        return []
    from lanes.store.rollouts.rows import (
        of_row,
    )  # what reads playbooks is loaded for those that there are

    return [of_row(row) for row in rows]
