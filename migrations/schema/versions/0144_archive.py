"""Keep items that are over in an archive, and delete rows without a look at all that refer to them."""

from alembic import op

revision = "0144"
down_revision = "0143"
sql_in_force = "f0f43bb5acc3"  # migrations/schema/current/ after this revision

UNENFORCED = (
    ("batch_member", "work_id"),
    ("pack_check", "work_id"),
    ("shadow_pair", "work_id"),
    ("correction", "provisional_id"),
    ("correction", "authoritative_id"),
    ("read", "result_id"),
)


def upgrade() -> None:
    op.execute("""
create table lanes.archive (
  id bigint generated always as identity constraint pk_archive primary key,
  workload text not null constraint fk_archive_workload references lanes.workload(name) not enforced,
  items int not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  said_since timestamptz,
  archived_at timestamptz not null,
  document json not null,
  constraint ck_archive_finite check (isfinite(first_at) and isfinite(last_at) and isfinite(said_since) and isfinite(archived_at)))
""")
    op.execute("create index ix_archive_workload_id on lanes.archive (workload, id)")
    op.execute("""
alter table lanes.item add archive_id bigint constraint fk_item_archive_id references lanes.archive(id) not enforced
""")
    for table, column in UNENFORCED:
        op.execute(
            f"alter table lanes.{table} alter constraint fk_{table}_{column} not enforced"
        )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
