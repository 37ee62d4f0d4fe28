"""What a batch is late with is found by the index of its workload: every save keeps one index less."""

from alembic import op

revision = "0052"
down_revision = "0051"



def upgrade() -> None:
    op.drop_index("ix_work_due", "work", schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code finds what is overdue by an index that is gone")
