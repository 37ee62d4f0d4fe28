create or replace view lanes.rejected_log as
select workload, source, place as position, reason, content, rejected_at, detail, key from lanes.rejected;

comment on view lanes.rejected_log is 'One row a refused input, kept as it came';
