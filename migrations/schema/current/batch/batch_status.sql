create or replace view lanes.batch_status as
select id as batch_id, provider_batch_id, workload, model, state, requests, items, succeeded, invalid, errored,
       canceled, expired, missing, submitted_at, expected_end_at, ended_at, collected_at, processed, intended_at, note,
       flow_run_id
  from lanes.batch;

comment on view lanes.batch_status is 'One row a Message Batch; counts are items';
