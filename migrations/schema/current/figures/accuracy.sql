create or replace view lanes.accuracy as
with judged as (
  select i.workload, r.lane, v.number as version, expected.field, (r.output -> expected.field) = expected.value as hit
    from lanes.label l
    join lanes.item i on i.id = l.item_id
    join lanes.result r on r.item_id = i.id and r.output is not null  -- what was emptied by its age says nothing any more
    join lanes.version v on v.id = r.version_id
   cross join lateral jsonb_each(l.expected) as expected (field, value)),
counted as (
  select workload, lane, version, field, count(*) as labels,
         count(*) filter (where hit)::float8 / count(*) as share
    from judged group by workload, lane, version, field)
select workload, lane, version, field, labels, share,
       greatest(0, (share + 1.9208 / labels - 1.96 * sqrt((share * (1 - share) + 0.9604 / labels) / labels))
                   / (1 + 3.8416 / labels)) as low,
       least(1, (share + 1.9208 / labels + 1.96 * sqrt((share * (1 - share) + 0.9604 / labels) / labels))
                / (1 + 3.8416 / labels)) as high
  from counted;

comment on view lanes.accuracy is 'Share of labelled fields that were right, with its 95 % Wilson interval';
