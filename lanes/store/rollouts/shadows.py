"""Shadows of a rollout: items that the other lane processes too, and the answers of both lanes.

A shadow is work of the version that answers the item, ranked behind all owed work. It is sent in a call of its own and never
moves the item. Its cost is in `lanes.spend` under the purpose `shadow`. In Lambda mode, the authoritative pass of a real-time
item already is the other lane's answer.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection, text

from lanes.ids import RolloutId
from lanes.packing import AFTER_LIVE_WORK
from lanes.rollouts.gates import Gate, Measure, Measurement
from lanes.rollouts.rollout import Rollout, ShadowsSpent
from lanes.statistics.differences import PairedShares
from lanes.store.rollouts.rollouts import WHOSE
from lanes.store.states import FAIR_LABEL
from lanes.store.workload import workloads
from lanes.words import Mode

MOST = 1_000  # shadows that one look creates

SPENT = """
select count(p.work_id) as shadows,
       coalesce(sum(coalesce(billed.usd, p.estimated_usd)), 0) as usd
  from lanes.shadow_pair p
  left join lateral (select sum(a.cost_usd) as usd from lanes.attempt a where a.work_id = p.work_id) billed on true
 where p.rollout_id = :rollout_id
"""

# The hash chooses items by their keys alone, so that neither the split nor an answer influences the choice.
OWED = f"""
with chosen as (
  select distinct on (i.id) i.id as item_id, i.revision, r.id as route_id, r.lane, i.workload, r.version_id,
         cast(:has_pass as bool) and r.lane = 'realtime' as has_pass,
         case when r.lane = 'realtime' then r.batch_usd else r.realtime_usd end as usd
    from lanes.route r
    join lanes.item i on i.id = r.item_id
   where r.id > :routes_before and r.id <= (select max(id) from lanes.route) and r.decided_at >= :since
     and r.reason = 'split' and {WHOSE} and i.canceled_at is null and i.emptied_at is null and i.forgotten_at is null
     and (hashtextextended(i.key, :rollout_id) & 65535) < cast(:share as float8) * 65536
     and not exists (select from lanes.shadow_pair p where p.rollout_id = :rollout_id and p.item_id = i.id)
   order by i.id, r.id desc),
priced as (
  select c.*, case when has_pass then 0 else usd end as estimated_usd,
         sum(case when has_pass then 0 else usd end) over (order by route_id, item_id) as altogether
    from chosen c order by route_id, item_id limit :most),
made as (
  insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, waits_since)
  select item_id, workload, version_id, case lane when 'batch' then 'realtime' else 'batch' end, 'shadow', revision, 'ready',
         :now, :rank_at, :now
    from priced where altogether <= :left and not has_pass order by route_id, item_id
  on conflict do nothing returning id, item_id)
insert into lanes.shadow_pair (rollout_id, item_id, revision, lane, work_id, estimated_usd, asked_at)
select :rollout_id, p.item_id, p.revision, case p.lane when 'batch' then 'realtime' else 'batch' end, m.id, p.estimated_usd,
       :now
  from priced p left join made m on m.item_id = p.item_id
 where p.altogether <= :left and (p.has_pass or m.id is not null)
"""

CANCELED = """
update lanes.work w set state = 'canceled', finished_at = :now
  from lanes.shadow_pair p
 where p.rollout_id = :rollout_id and w.id = p.work_id and w.state = 'ready'
"""

# Items with answers of both lanes: that of the lane that receives the traffic, and that of the other lane.
PAIRS = f"""
with answered as (
  select p.item_id, p.lane = :receiving as is_shadow_of_receiving, coalesce(p.output, passed.output) as aside, own.output as own
    from lanes.shadow_pair p
    join lateral (
      select r.output from lanes.result r
       where r.item_id = p.item_id and r.lane <> p.lane and r.generation = 0 and r.revision = p.revision
         and r.output is not null
       order by r.id desc limit 1) own on true
    left join lateral (
      select r.output from lanes.result r
       where p.work_id is null and r.item_id = p.item_id and r.lane = p.lane and r.generation = 0 and r.revision = p.revision
         and r.output is not null
       order by r.id desc limit 1) passed on true
   where p.rollout_id = :rollout_id),
pair as (
  select item_id, case when is_shadow_of_receiving then aside else own end as receiving,
         case when is_shadow_of_receiving then own else aside end as giving
    from answered where aside is not null),
compared as (
  select coalesce((select bool_and(receiving -> f.name is not distinct from giving -> f.name)
                     from unnest(cast(:fields as text[])) f (name)), receiving = giving) as agrees
    from pair),
labeled as (
  select bool_and(coalesce(p.receiving -> f.field = f.value, false)) as receiving,
         bool_and(coalesce(p.giving -> f.field = f.value, false)) as giving
    from pair p
    join lanes.label l on l.item_id = p.item_id and {FAIR_LABEL}
   cross join lateral jsonb_each(l.expected) f (field, value)
   group by p.item_id)
select (select count(*) from compared) as compared,
       (select count(*) from compared where not agrees) as differing,
       (select count(*) from labeled) as labeled,
       (select count(*) from labeled where giving and not receiving) as receiving_wrong,
       (select count(*) from labeled where receiving and not giving) as giving_wrong,
       (select count(*) from labeled where not receiving and not giving) as both_wrong,
       (select count(*) from lanes.shadow_pair p
         where p.rollout_id = :rollout_id and p.lane = :receiving and p.answered_at is not null
           and p.asked_at >= :since) as answered
"""


@dataclass(frozen=True)
class Pairs:
    """The comparison of both lanes' answers to the same items.

    `differing` of `compared` pairs differ. `wrong` counts the labeled pairs: wrong only on the receiving lane, wrong only on
    the other lane, and alike; of the latter, `both_wrong` are wrong. `answered` counts the shadows that the receiving lane
    answered during the current step.
    """

    compared: int
    differing: int
    wrong: PairedShares
    both_wrong: int
    answered: int

    def measure(self, gate: Gate) -> Measurement:
        """Return the agreement of both lanes, or the accuracy of the receiving lane compared with that of the other."""
        if gate.measure is Measure.AGREEMENT:
            return _right(gate.measure, self.compared, self.differing)
        one, other, _ = self.wrong
        receiving = _right(gate.measure, self.wrong.samples, one + self.both_wrong)
        giving = _right(gate.measure, self.wrong.samples, other + self.both_wrong)
        return Measurement(
            gate.measure,
            receiving.value,
            receiving.samples,
            receiving.wrong,
            other=giving,
            pairs=self.wrong,
        )


def _right(measure: Measure, samples: int, wrong: int) -> Measurement:
    """Return the share of the samples that are not wrong."""
    return Measurement(measure, (samples - wrong) / samples if samples else None, samples, wrong)


def read_spent(connection: Connection, rollout_id: RolloutId) -> ShadowsSpent:
    """Return the cost of a rollout's shadows so far."""
    row = connection.execute(text(SPENT), {"rollout_id": rollout_id}).one()
    return ShadowsSpent(row.shadows, row.usd)


def owe(connection: Connection, rollout: Rollout, *, now: datetime) -> None:
    """Create shadow work on the other lane for the playbook's share of new items, while its budget lasts."""
    shadows = rollout.playbook.shadows
    version = workloads.read_versions(connection).get(rollout.workload)
    if shadows is None or version is None:
        return
    given = {
        "rollout_id": rollout.id,
        "workload": rollout.workload,
        "consumer": rollout.consumer,
        "routes_before": rollout.routes_before,
        "since": rollout.step_started_at,
        "has_pass": version.spec.mode is Mode.LAMBDA and not version.spec.second_pass.is_stated,
        "share": shadows.share,
        "left": Decimal(str(shadows.budget_usd)) - read_spent(connection, rollout.id).usd,
        "most": MOST,
        "now": now,
        "rank_at": now + AFTER_LIVE_WORK,
    }
    connection.execute(text(OWED), given)


def cancel(connection: Connection, rollout_id: RolloutId, *, now: datetime) -> None:
    """Cancel the ready shadows of a rollout that has ended; answers to shadows in flight are not shown."""
    connection.execute(text(CANCELED), {"rollout_id": rollout_id, "now": now})


def pairs(connection: Connection, rollout: Rollout, fields: Collection[str]) -> Pairs:
    """Return the comparison of both lanes' answers to the same items since the rollout began.

    Answers agree if `fields` agree, or the whole output if `fields` is empty.
    """
    given = {
        "rollout_id": rollout.id,
        "receiving": rollout.playbook.direction.receiving,
        "since": rollout.step_started_at,
        "fields": list(fields),
    }
    row = connection.execute(text(PAIRS), given).one()
    alike = row.labeled - row.receiving_wrong - row.giving_wrong
    wrong = PairedShares(row.receiving_wrong, row.giving_wrong, alike)
    return Pairs(row.compared, row.differing, wrong, row.both_wrong, row.answered)
