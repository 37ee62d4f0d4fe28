--- Keeps the new events that a webhook wants, in the transaction of their facts: Prefect's copy is deleted once Prefect has it
create or replace function lanes.keep_for_webhooks()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  insert into lanes.webhook_event (id, event, resource, payload, occurred_at)
  select a.id, a.event, a.resource, a.payload, a.occurred_at from added a
   where exists (select from lanes.webhook w where a.event = any (w.types)
                    and (w.workload is null or a.resource = 'lanes.workload.' || w.workload));
  return null;
end $$;
