"""Let a rollout measure accuracy, corrections, cost and saving, have more time, and count passes in a row."""

import sqlalchemy as sa
from alembic import op

revision = "0106"
down_revision = "0105"
sql_in_force = "abc83606d11d"  # migrations/schema/current/ after this revision

KNOWN = {
    "rollout_measurement": (
        "measure",
        "measure in ('error_rate', 'p95_s', 'deadlines_met', 'agreement', 'correction_rate', 'accuracy', 'cost_usd', 'saving')",
    ),
    "rollout_event": (
        "event",
        "event in ('started', 'stepped', 'held', 'approval_asked', 'approved', 'declined', 'extended', 'rolled_back',"
        " 'finished', 'aborted')",
    ),
}


def upgrade() -> None:
    for table, (column, known) in KNOWN.items():
        name = f"ck_{table}_{column}_known"
        op.drop_constraint(name, table, schema="lanes")
        op.create_check_constraint(op.f(name), table, known, schema="lanes")
    for name in ("extended_minutes", "passes"):
        added = sa.Column(name, sa.Integer, nullable=False, server_default="0")
        op.add_column("rollout", added, schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
