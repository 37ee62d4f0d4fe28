--- One row a refused input, kept as it came; of a source and day 1,000, and one row that counts the others
---   workload: The workload that was named, if any was
---   source: The door: event, sql, client or a file's name
---   position: Where it stood in its source: an event's id, a line's number or a key
---   reason: One word, such as malformed, key_conflict or unknown_workload
---   content: The input as it came, cut at 64 KiB
---   rejected_at: When it was refused
---   detail: What is wrong and what to do
---   key: The key it came with; null: none was read
---   times: How many refusals the row stands for: 1, or with the reason only_counted, those of its source and day that were
---     not kept
create or replace view lanes.rejected_log as
select workload, source, place as position, reason, content, rejected_at, detail, key, times from lanes.rejected;
