"""Name the provider block of each version and batch, and the account that answers each workload."""

from alembic import op

revision = "0148"
down_revision = "0147"
sql_in_force = "4e0e2ebb2214" # migrations/schema/current/ after this revision

MOMENTS = ("paused_at", "submit_at", "refused_at", "created_at", "departed_at", "account_since")
FINITE = " and ".join(f"isfinite({each})" for each in MOMENTS)


def upgrade() -> None:
    for table in ("workload", "version", "batch"):
        op.execute(f"alter table lanes.{table} add provider text not null default 'lanes'")
    op.execute("alter table lanes.workload add account text, add account_since timestamptz")
    op.execute("alter table lanes.workload drop constraint ck_workload_finite")
    op.execute(f"alter table lanes.workload add constraint ck_workload_finite check ({FINITE})")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
