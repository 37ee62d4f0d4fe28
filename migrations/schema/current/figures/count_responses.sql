--- Counts new responses in the figures
create or replace function lanes.count_responses()
returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_sort = off as $$
begin
  insert into lanes.figure_delta (at, workload, lane, purpose, kind, n, items, usd, input, output, cached, written)
  select date_trunc('minute', a.billed_at, 'UTC'), a.workload, a.lane, a.purpose, 'call', count(*), sum(a.items), sum(a.cost_usd),
         sum(a.input_tokens), sum(a.output_tokens), sum(a.cache_read_tokens), sum(a.cache_write_tokens)
    from added a group by 1, 2, 3, 4;
  return null;
end $$;
