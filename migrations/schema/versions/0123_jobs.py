"""Keep jobs: items that were submitted together."""

from alembic import op

revision = "0123"
down_revision = "0122"
sql_in_force = "13008fe1f39e"  # migrations/schema/current/ after this revision

COUNTS = """
  received integer not null default 0, answered integer not null default 0, settled integer not null default 0,
  failed integer not null default 0, canceled integer not null default 0, usd numeric(20, 10) not null default 0
"""
CHANGES = f"""
create table lanes.job (
  {COUNTS},
  id bigint generated always as identity constraint pk_job primary key,
  name text not null constraint uq_job_name unique,
  workload text not null constraint fk_job_workload references lanes.workload,
  digest bytea, sent integer, refused integer, due_at timestamptz, created_at timestamptz not null,
  closed_at timestamptz, done_at timestamptz,
  constraint ck_job_finite check (
    isfinite(due_at) and isfinite(created_at) and isfinite(closed_at) and isfinite(done_at)));
create index ix_job_open on lanes.job (id) where done_at is null;
create table lanes.job_use (
  {COUNTS},
  id bigint generated always as identity constraint pk_job_use primary key,
  job_id bigint not null constraint fk_job_use_job_id references lanes.job not enforced);
create index ix_job_use_job_id on lanes.job_use (job_id);
alter table lanes.item
  add job_id bigint constraint fk_item_job_id references lanes.job not enforced;
create index ix_item_job on lanes.item (job_id, id) where job_id is not null;
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
