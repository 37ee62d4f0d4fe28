create or replace view lanes.rejected_log as
select workload, source, place as position, reason, content, rejected_at, detail, key, times from lanes.rejected;

comment on view lanes.rejected_log is 'One row a refused input, kept as it came; of a source and day 1,000, and one row that counts the others';

comment on column lanes.rejected_log.workload is 'The workload that was named, if any was';
comment on column lanes.rejected_log.source is 'The door: event, sql, client or a file''s name';
comment on column lanes.rejected_log.position is 'Where it stood in its source: an event''s id, a line''s number or a key';
comment on column lanes.rejected_log.reason is 'One word, such as malformed, key_conflict or unknown_workload';
comment on column lanes.rejected_log.content is 'The input as it came, cut at 64 KiB';
comment on column lanes.rejected_log.rejected_at is 'When it was refused';
comment on column lanes.rejected_log.detail is 'What is wrong and what to do';
comment on column lanes.rejected_log.key is 'The key it came with; null: none was read';
comment on column lanes.rejected_log.times is
  'How many refusals the row stands for: 1, or with the reason only_counted, those of its source and day that were not kept';
