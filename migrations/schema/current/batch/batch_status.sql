-- Throughput is told of batches whose work is their own: what a superseded or released one carried went elsewhere.
create or replace view lanes.batch_status as
select id as batch_id, provider_batch_id, workload, model, state, requests, items, succeeded, invalid, errored,
       canceled, expired, missing, submitted_at, expected_end_at, ended_at, collected_at, processed, intended_at, note,
       flow_run_id,
       case when state in ('ended', 'collected') and ended_at > submitted_at
            then items / extract(epoch from ended_at - submitted_at)::float8 * 60 end as items_per_minute_until_ended,
       case when state = 'collected' and collected_at > submitted_at
            then items / extract(epoch from collected_at - submitted_at)::float8 * 60 end as items_per_minute_until_collected
  from lanes.batch;

comment on view lanes.batch_status is 'One row a Message Batch; counts are items';

comment on column lanes.batch_status.batch_id is 'The batch''s number here, as `lanes batches` says it';
comment on column lanes.batch_status.provider_batch_id is
  'The provider''s name for it (msgbatch_...); null: its create is not confirmed';
comment on column lanes.batch_status.workload is 'Name of the workload';
comment on column lanes.batch_status.model is 'The model that answers it';
comment on column lanes.batch_status.state is
  'intended, submitted, ended, collected, held (a person decides), superseded (its work went elsewhere) or released';
comment on column lanes.batch_status.requests is 'How many requests it holds; packed items share one';
comment on column lanes.batch_status.items is 'How many items it carries';
comment on column lanes.batch_status.succeeded is 'Items with a valid answer';
comment on column lanes.batch_status.invalid is 'Items whose answer was billed and unusable';
comment on column lanes.batch_status.errored is 'Items for which the provider failed';
comment on column lanes.batch_status.canceled is 'Items whose request was canceled before it ran; not billed';
comment on column lanes.batch_status.expired is 'Items whose request expired before it ran; not billed';
comment on column lanes.batch_status.missing is 'Items without any result, however often the results were read';
comment on column lanes.batch_status.submitted_at is 'When the provider confirmed it; null: not yet';
comment on column lanes.batch_status.expected_end_at is 'When it should be back, as was expected when it was submitted';
comment on column lanes.batch_status.ended_at is 'When the provider had finished it; null: not yet';
comment on column lanes.batch_status.collected_at is 'When every result was applied; null: not yet';
comment on column lanes.batch_status.processed is 'Requests that the provider is no longer processing';
comment on column lanes.batch_status.intended_at is 'When its intent was committed, before the paid call';
comment on column lanes.batch_status.note is 'What a person should know of it; null: nothing';
comment on column lanes.batch_status.flow_run_id is 'The run of `depart` in Prefect that intended it; null: not known';
comment on column lanes.batch_status.items_per_minute_until_ended is
  'Items that it carries for each minute from submitted_at to ended_at; null: not ended, or its work went elsewhere';
comment on column lanes.batch_status.items_per_minute_until_collected is
  'Items that it carries for each minute from submitted_at to collected_at; null: not collected, or its work went elsewhere';
