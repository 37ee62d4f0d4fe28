--- One row a workload: the version in force, the split, and whether it is paused
---   workload: Name of the workload
---   version: Number of the version in force; null: none
---   percent: Share of undecided items to real-time for all consumers, 0 to 100; null: none is set
---   candidate: Number of the version that a canary or a golden set tries; null: none
---   candidate_percent: Share of newly routed items that the candidate gets, 0 to 100; null: none
---   paused_at: Since when nothing of it is claimed; null: it is not paused
---   refused_at: Since when the provider refuses its version; null: it does not
create or replace view lanes.workload_status as
select f.name as workload, v.number as version, round(s.basis_points / 100.0, 2) as percent, c.number as candidate,
       round(f.candidate_share / 100.0, 2) as candidate_percent, f.paused_at, f.refused_at
  from lanes.workload f
  left join lanes.version v on v.id = f.version_id
  left join lanes.version c on c.id = f.candidate_id
  left join lateral (
    select s.basis_points from lanes.split s
     where s.workload = f.name and s.consumer is null order by s.id desc limit 1) s on true;
