"""Remember how the item of a label was chosen, which share of items is reviewed, and that the provider's bill differs."""

import sqlalchemy as sa
from alembic import op

revision = "0116"
down_revision = "0115"
sql_in_force = "63c9e9e48045"  # migrations/schema/current/ after this revision

PROMISES = (
    "promise in ('batch_slow', 'batch_failing', 'batch_invalid', 'batch_unclear', 'batch_incomplete', 'batch_never_started',"
    " 'realtime_slow', 'realtime_failing', 'authoritative_failed', 'workload_invalid', 'items_failed', 'provider_down',"
    " 'approval_waits', 'provider_frozen', 'budget', 'deadline_missed', 'deadline_at_risk', 'role_taken', 'feed_silent',"
    " 'rule_raises', 'routing_shifted', 'guards_fire', 'chance_wrong', 'read_late', 'bill_differs')"
)


def upgrade() -> None:
    op.drop_constraint("ck_incident_promise_known", "incident", schema="lanes")
    name = op.f("ck_incident_promise_known")
    op.create_check_constraint(name, "incident", PROMISES, schema="lanes")
    basis = sa.Column("basis", sa.Text, nullable=False, server_default="given")
    op.add_column("label", basis, schema="lanes")
    known = "basis in ('given', 'uniform', 'review')"
    op.create_check_constraint(op.f("ck_label_basis_known"), "label", known, schema="lanes")
    share = sa.Column("review_share", sa.Float, nullable=False, server_default="0.01")
    op.add_column("version", share, schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
