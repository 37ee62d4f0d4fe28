"""Let runs of `depart` check in, and let a silent feed be an incident."""

import sqlalchemy as sa
from alembic import op

revision = "0114"
down_revision = "0113"
sql_in_force = "1f9394de5876"  # migrations/schema/current/ after this revision

KNOWN = (
    "promise in ('batch_slow', 'batch_failing', 'batch_invalid', 'batch_unclear', 'batch_incomplete', "
    "'batch_never_started', 'realtime_slow', 'realtime_failing', 'authoritative_failed', 'workload_invalid', "
    "'items_failed', 'provider_down', 'approval_waits', 'provider_frozen', 'budget', 'deadline_missed', "
    "'deadline_at_risk', 'role_taken', 'feed_silent', 'rule_raises', 'routing_shifted', 'guards_fire', "
    "'chance_wrong', 'read_late')"
)
FINITE = (
    "isfinite(paused_at) and isfinite(submit_at) and isfinite(departed_at) and isfinite(refused_at) and isfinite(created_at)"
)


def upgrade() -> None:
    op.add_column("workload", sa.Column("departed_at", sa.DateTime(timezone=True)), schema="lanes")
    op.add_column("workload", sa.Column("departed_items", sa.Integer()), schema="lanes")
    for table, name, rule in (
        ("workload", "ck_workload_finite", FINITE),
        ("incident", "ck_incident_promise_known", KNOWN),
    ):
        op.drop_constraint(name, table, schema="lanes")
        op.create_check_constraint(op.f(name), table, rule, schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
