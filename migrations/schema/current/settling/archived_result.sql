--- The current result of an item that was archived; no row: it is not archived, or was never answered
create or replace function lanes.archived_result(item_id bigint)
returns table (output jsonb, standing text, generation int, lane text, created_at timestamptz)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.output, r.standing, r.generation, r.lane, r.created_at
    from lanes.item i
    join lanes.archive a on a.id = i.archive_id
   cross join lateral jsonb_populate_recordset(null::lanes.result,
                                               (a.document -> i.id::text -> 'result')::jsonb) r
   where i.id = archived_result.item_id and r.id = i.result_id
$$;
