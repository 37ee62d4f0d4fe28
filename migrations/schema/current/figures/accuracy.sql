-- Read where labels and answers stand: two transactions that write a label and its answer at once are both seen.
-- Labels of items that were reviewed because answers to them differ would make a lane look worse than it is: they do not count.
-- The newest are looked up one by one: the view takes as long after years of labels.
--- Share of labelled fields that were right, with its 95 % Wilson interval, by the newest 5,000 labels of each workload
---   workload: Name of the workload
---   lane: The lane that gave the answers
---   version: Number of the version that gave them
---   field: The field of the output that was labelled
---   labels: How many labelled answers were compared
---   share: Share of them that were right, 0 to 1
---   low: Lower end of the 95 % Wilson interval of that share
---   high: Upper end of the 95 % Wilson interval of that share
---   basis: How their items were chosen: uniform, given, or both; those that a reviewer got because answers differ do not count
create or replace view lanes.accuracy as
select workload, lane, version, field, labels, share, lanes.wilson(share, labels, -1) as low, lanes.wilson(share, labels, 1) as high,
       basis
  from (select w.name as workload, a.lane, a.version, a.field, count(*) as labels, avg(a.correct::int)::float8 as share,
               string_agg(distinct a.basis, ' and ' order by a.basis) as basis
          from lanes.workload w
         cross join lateral (
           select l.id from lanes.label l where l.workload = w.name and l.basis <> 'review' order by l.labeled_at desc limit 5000) l
         cross join lateral (select * from lanes.labeled_answers a where a.label_id = l.id offset 0) a
         group by 1, 2, 3, 4) counted;
