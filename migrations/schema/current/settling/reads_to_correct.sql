-- Only items with a correction, or with an answer of a replay that was promoted or demoted, are looked at: a reader's other reads
-- are many. They are looked for in the order of their items, not of a hash, so that neighbours share pages.
--- What a reader has to undo: the newest answer that they took of an item was corrected since, or a replay was promoted or
--- demoted; the item shows another one now, and they have not read it again
create or replace function lanes.reads_to_correct(reader text)
returns table (workload text, key text, taken jsonb, output jsonb, changed_fields text[], read_at timestamptz,
               corrected_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp set enable_hashagg = off as $$
  select i.workload, i.key, t.output, s.output,
         case when c.authoritative_id = s.id then c.changed_fields
              else array(select f.name from jsonb_object_keys(t.output || s.output) f (name)
                          where t.output -> f.name is distinct from s.output -> f.name order by f.name) end,
         r.read_at, case when c.authoritative_id = s.id then c.corrected_at else coalesce(g.moved_at, c.corrected_at) end
    from (select distinct on (l.item_id) l.item_id, l.result_id, l.read_at from lanes.read l
           where l.reader = coalesce(nullif(left(reads_to_correct.reader, 512), ''), 'unknown') and l.result_id is not null
             and l.item_id in (select c.item_id from lanes.correction c
                               union all
                               select o.item_id from lanes.generation g
                                 join lanes.result o on o.generation = g.number and o.generation > 0
                                where g.promoted_at is not null or g.demoted_at is not null)
           order by l.item_id, l.read_at desc, l.id desc) r
    join lanes.item i on i.id = r.item_id
    join lanes.result t on t.id = r.result_id
    join lanes.result s on s.id = i.result_id
    left join lanes.correction c on c.item_id = r.item_id and c.provisional_id = r.result_id
    left join lateral (select max(greatest(g.promoted_at, g.demoted_at)) as moved_at from lanes.generation g
                        where g.workload = i.workload and g.number in (t.generation, s.generation)) g on true
   where t.output is distinct from s.output and (c.id is not null or g.moved_at is not null)
   order by 7, i.id
$$;
