"""Let a rollout hold because of a sample-ratio mismatch."""

from alembic import op

revision = "0105"
down_revision = "0104"
sql_in_force = "abc83606d11d"  # migrations/schema/current/ after this revision

HOLDS = "holds in ('gathering', 'inconclusive', 'error', 'sample_ratio', 'incident', 'approval', 'ended')"


def upgrade() -> None:
    op.drop_constraint("ck_rollout_holds_known", "rollout", schema="lanes")
    op.create_check_constraint(op.f("ck_rollout_holds_known"), "rollout", HOLDS, schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
