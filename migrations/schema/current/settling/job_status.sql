-- Its counts are what `collect` has moved to the job, and what transactions have added since.
--- One row a job: items that were submitted together
---   job: Names it among the jobs of all workloads
---   workload: Name of the workload
---   state: sending (as a whole, and not all of it has arrived), open, or done (every item is settled, failed or canceled)
---   sent: Inputs sent as a whole; null: not known, or it is sent item by item
---   received: Items that exist because of it
---   waiting: Of these, those without an answer that may still get one
---   answered: Those with a provisional answer
---   settled: Those with an authoritative answer
---   failed: Those that were given up
---   canceled: Those that were withdrawn
---   duplicates: Inputs that were items before, of another job or of none; null: not known
---   refused: Inputs that the door refused, as in rejected_log; null: not known
---   cost_usd: What its items cost so far, US dollars
---   budget_usd: What it may be quoted at before it is sent, US dollars; null: no limit
---   due_at: When items without a due time of their own are due; null: at no time
---   created_at: When its first input came
---   closed_at: When all of it was sent; null: not yet, or it is sent item by item
---   done_at: When it was found done and told; null: not yet
---   job_id: The job's number in this database
create or replace view lanes.job_status as
select j.name as job, j.workload,
       case when j.digest is not null and j.closed_at is null then 'sending'
            when c.received > c.settled + c.failed + c.canceled or coalesce(j.closed_at, j.done_at) is null then 'open'
            else 'done' end as state,
       j.sent, c.received, c.received - c.answered - c.settled - c.failed - c.canceled as waiting, c.answered, c.settled,
       c.failed, c.canceled,
       case when j.closed_at is not null then greatest(j.sent - j.refused - c.received, 0) end as duplicates, j.refused,
       c.cost_usd, j.budget_usd, j.due_at, j.created_at, j.closed_at, j.done_at, j.id as job_id
  from lanes.job j
 cross join lateral (
   select (j.received + coalesce(sum(u.received), 0))::int as received,
          (j.answered + coalesce(sum(u.answered), 0))::int as answered,
          (j.settled + coalesce(sum(u.settled), 0))::int as settled, (j.failed + coalesce(sum(u.failed), 0))::int as failed,
          (j.canceled + coalesce(sum(u.canceled), 0))::int as canceled, j.usd + coalesce(sum(u.usd), 0) as cost_usd
     from lanes.job_use u where u.job_id = j.id) c;
