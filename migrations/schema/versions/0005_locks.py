"""An attempt exists once; what waits for the router is found by urgency; nobody's open transaction holds up others."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# An attempt exists once. Where a line was read twice, what the copies paid stays with the first of them, so that the
# attempts still sum to the ledger, and the batch counts each item once.
ONCE = (
    """
create temporary table doubled on commit drop as
select min(id) as kept, array_agg(id) as ids, min(batch_id) as batch_id, message_id, bool_or(shown) as shown,
       sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens,
       sum(cache_read_tokens) as cache_read_tokens, sum(cache_write_tokens) as cache_write_tokens,
       sum(cost_usd) as cost_usd, max(bound_usd) as bound_usd
  from lanes.attempt
 group by work_id, claim_no, message_id
having count(*) > 1
""",
    """
update lanes.attempt a
   set input_tokens = d.input_tokens, output_tokens = d.output_tokens, cache_read_tokens = d.cache_read_tokens,
       cache_write_tokens = d.cache_write_tokens, cost_usd = d.cost_usd, bound_usd = d.bound_usd, shown = d.shown
  from doubled d where a.id = d.kept
""",
    """
delete from lanes.attempt a using doubled d where a.id = any (d.ids) and a.id <> d.kept
""",
    """
update lanes.response r set items = (select count(*) from lanes.attempt a where a.message_id = r.message_id)
 where r.message_id in (select message_id from doubled)
""",
    """
update lanes.batch b
   set succeeded = c.succeeded, invalid = c.invalid, errored = c.errored, canceled = c.canceled, expired = c.expired,
       missing = c.missing
  from (select batch_id, count(*) filter (where outcome = 'valid') as succeeded,
               count(*) filter (where outcome in ('invalid', 'refused', 'truncated')) as invalid,
               count(*) filter (where outcome in ('errored', 'poison')) as errored,
               count(*) filter (where outcome = 'canceled') as canceled,
               count(*) filter (where outcome = 'expired') as expired,
               count(*) filter (where outcome = 'missing') as missing
          from (select distinct on (work_id, claim_no) batch_id, outcome
                  from lanes.attempt where batch_id in (select batch_id from doubled)
                 order by work_id, claim_no, id desc) as newest
         group by batch_id) as c
 where b.id = c.batch_id
""",
)


def upgrade() -> None:
    for statement in ONCE:
        op.execute(statement)
    op.create_index('uq_attempt_once', 'attempt', ['work_id', 'claim_no', sa.text("coalesce(message_id, '')")], unique=True, schema='lanes')
    op.create_table_comment('attempt', 'One try at some work; a claim has one attempt for each response, and one at most without any', existing_comment='One try at some work', schema='lanes')
    op.drop_constraint('uq_item_position', 'item', schema='lanes', type_='unique')
    op.create_index('uq_item_position', 'item', ['position'], unique=True, schema='lanes', postgresql_where=sa.text('position is not null'))
    op.drop_index('ix_item_received', table_name='item', schema='lanes')
    op.create_index('ix_item_received', 'item', ['workload', sa.text('urgent desc'), 'due_at', 'id'], unique=False, schema='lanes', postgresql_where=sa.text('position is null and canceled_at is null'))


def downgrade() -> None:
    raise RuntimeError('attempts that were read twice are one now: which was which is not known')
