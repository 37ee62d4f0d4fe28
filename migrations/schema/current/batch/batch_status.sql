-- Throughput is told of batches whose work is their own: what a superseded or released one carried went elsewhere.
--- One row a Message Batch; counts are items
---   batch_id: The batch's number here, as `lanes batches` says it
---   provider_batch_id: The provider's name for it (msgbatch_...); null: its create is not confirmed
---   workload: Name of the workload
---   model: The model that answers it
---   state: intended, submitted, ended, collected, held (a person decides), superseded (its work went elsewhere) or released
---   requests: How many requests it holds; packed items share one
---   items: How many items it carries
---   succeeded: Items with a valid answer
---   invalid: Items whose answer was billed and unusable
---   errored: Items for which the provider failed
---   canceled: Items whose request was canceled before it ran; not billed
---   expired: Items whose request expired before it ran; not billed
---   missing: Items without any result, however often the results were read
---   submitted_at: When the provider confirmed it; null: not yet
---   expected_end_at: When it is expected back, by how long such batches take and how long it has been out
---   ended_at: When the provider had finished it; null: not yet
---   collected_at: When every result was applied; null: not yet
---   processed: Requests that the provider is no longer processing
---   intended_at: When its intent was committed, before the paid call
---   note: What a person should know of it; null: nothing
---   flow_run_id: The run of `depart` in Prefect that intended it; null: not known
---   items_per_minute_until_ended: Items that it carries for each minute from submitted_at to ended_at; null: not ended, or
---     its work went elsewhere
---   items_per_minute_until_collected: Items that it carries for each minute from submitted_at to collected_at; null: not
---     collected, or its work went elsewhere
create or replace view lanes.batch_status as
select id as batch_id, provider_batch_id, workload, model, state, requests, items, succeeded, invalid, errored,
       canceled, expired, missing, submitted_at, expected_end_at, ended_at, collected_at, processed, intended_at, note,
       flow_run_id,
       case when state in ('ended', 'collected') and ended_at > submitted_at
            then items / extract(epoch from ended_at - submitted_at)::float8 * 60 end as items_per_minute_until_ended,
       case when state = 'collected' and collected_at > submitted_at
            then items / extract(epoch from collected_at - submitted_at)::float8 * 60 end as items_per_minute_until_collected
  from lanes.batch;
