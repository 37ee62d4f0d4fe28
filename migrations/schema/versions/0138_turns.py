"""Let consumers of a workload take turns while their work waits."""

from alembic import op

revision = "0138"
down_revision = "0137"
sql_in_force = "baee1dd55377"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.execute("alter table lanes.work add consumer text default '' not null")
    op.execute("""
create index ix_work_turn on lanes.work (lane, workload, consumer, rank_at, id) where state = 'ready' and consumer >= ''
""")
    op.execute("""
create index ix_work_pressing on lanes.work (lane, workload, rank_at, id)
 where state = 'ready' and (urgent or due_at is not null) and consumer >= ''
""")
    op.execute("alter table lanes.call_wait drop constraint ck_call_wait_reason_known")
    op.execute("""
alter table lanes.call_wait add constraint ck_call_wait_reason_known check (reason in
  ('frozen', 'slowed', 'circuit', 'recovering', 'budget', 'shadow', 'places', 'share', 'turn', 'rate_limit'))
""")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
