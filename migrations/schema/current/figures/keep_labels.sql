create or replace function lanes.keep_labels(labels lanes.label[], results lanes.result[], sign int)
returns void
language sql as $$
  insert into lanes.figure_delta (at, workload, version_id, lane, kind, word, n, items)
  select date_trunc('minute', i.received_at, 'UTC'), i.workload, r.version_id, r.lane, 'label', f.field, keep_labels.sign * count(*),
         keep_labels.sign * count(*) filter (where (r.output -> f.field) = f.value)
    from unnest(keep_labels.labels) l
    join unnest(keep_labels.results) r on r.item_id = l.item_id and r.output is not null  -- what was emptied says nothing any more
   cross join lateral (select i.workload, i.received_at from lanes.item i where i.id = l.item_id offset 0) i
   cross join lateral jsonb_each(l.expected) f (field, value)
   group by 1, 2, 3, 4, 6
$$;

comment on function lanes.keep_labels is 'So often the fields that these labels name were right in these results, or were not';
