--- Keeps the new events that a webhook wants, in the transaction of their facts: Prefect's copy is deleted once Prefect has it
create or replace function lanes.keep_for_webhooks()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from lanes.webhook) then return null; end if;
  insert into lanes.webhook_event (id, event, resource, payload, consumer, occurred_at)
  select a.id, a.event, a.resource, a.payload, i.consumer, a.occurred_at
    from added a
    left join lanes.item i on a.event like 'lanes.item.%' and i.key = a.payload ->> 'key'
                          and i.workload = substr(a.resource, length('lanes.workload.') + 1)
   where exists (select from lanes.webhook w where a.event = any (w.types)
                    and (w.workload is null or a.resource = 'lanes.workload.' || w.workload)
                    and (w.consumer is null or w.consumer = i.consumer));
  return null;
end $$;
