"""Find the newest labels of a workload, however many there are."""

from alembic import op

revision = "0153"
down_revision = "0152"
sql_in_force = "9ac9b0e0a9ee"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.execute("alter table lanes.label add column workload text")
    op.execute(
        "update lanes.label l set workload = i.workload from lanes.item i where i.id = l.item_id"
    )
    op.execute(
        "create index ix_label_workload_labeled_at on lanes.label (workload, labeled_at)"
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
