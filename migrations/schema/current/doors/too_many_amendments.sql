-- What senders can have kept without an end is bounded: the revisions of an item, and what waits for items that never come.
--- Why no further amendment of this item (null: there is none yet) is kept, as a reason and a sentence; null while one more is
create or replace function lanes.too_many_amendments(item_id bigint, workload text, key text)
returns text[]
language sql stable
begin atomic
  select case
    when exists (select from lanes.revision r where r.item_id = too_many_amendments.item_id and r.number >= 1000)
      then array['too_many_amendments', format(
        'item "%s" of workload "%s" has 1,000 revisions, the most that are kept; submit it under another key', key, workload)]
    when item_id is not null then null
    when (select count(*) from (select from lanes.amendment a where a.workload = too_many_amendments.workload
                                   and a.key = too_many_amendments.key and a.outcome is null limit 100) waiting) = 100
      then array['too_many_amendments', format(
        '100 amendments of item "%s" of workload "%s" wait for it; submit the item first', key, workload)]
    when (select count(*) from (select from lanes.amendment a where a.workload = too_many_amendments.workload
                                   and a.outcome is null limit 10000) waiting) = 10000
      then array['too_many_amendments', format(
        '10,000 amendments of workload "%s" wait for their items; submit the items first', workload)]
  end;
end;
