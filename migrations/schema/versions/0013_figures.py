"""A rollout knows whether its step is in force and since when it asks; people are reminded in Slack."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

# A question that is open keeps its time; one asked again is as old as the first.
ASKED = """
update lanes.rollout r
   set asked_at = coalesce((select min(e.at) from lanes.rollout_event e
                             where e.rollout_id = r.id and e.event = 'approval_asked' and e.step = r.step), now())
 where r.state = 'waiting_approval'
"""


def upgrade() -> None:
    op.add_column(
        "rollout",
        sa.Column(
            "entered", sa.Boolean(), server_default=sa.text("true"), nullable=False,
            comment="Whether the step's share is in force; false while an approval that was passed over is owed",
        ),
        schema="lanes",
    )
    op.add_column(
        "rollout",
        sa.Column(
            "asked_at", sa.DateTime(timezone=True), nullable=True,
            comment="Since when a person is asked to approve; null = nobody is",
        ),
        schema="lanes",
    )
    op.add_column(
        "slack_post",
        sa.Column(
            "reminded_at", sa.DateTime(timezone=True), nullable=True,
            comment="When people were last reminded in its thread",
        ),
        schema="lanes",
    )
    op.execute(ASKED)


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code does not know what this database holds")
