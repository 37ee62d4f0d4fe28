"""Let a workload have a candidate version, and a rollout move a share of its items to that."""

import sqlalchemy as sa
from alembic import op

revision = "0111"
down_revision = "0110"
sql_in_force = "7b34cd067366"  # migrations/schema/current/ after this revision

ADDED = {
    "workload": {"candidate_id": sa.BigInteger, "candidate_share": sa.Integer},
    "rollout": {"version": sa.Integer, "version_before": sa.Integer},
}


def upgrade() -> None:
    for table, columns in ADDED.items():
        for name, type_ in columns.items():
            op.add_column(table, sa.Column(name, type_, nullable=True), schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
