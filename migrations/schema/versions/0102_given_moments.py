"""Check of an item only the moments of its admission: each door inserts it by a statement of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0102"
down_revision = "0101"
sql_in_force = "40261a15eb79"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.drop_constraint("ck_item_finite", "item", schema="lanes")
    finite = sa.text(
        "isfinite(as_of) and isfinite(due_at) and isfinite(occurred_at) and isfinite(received_at)"
    )
    op.create_check_constraint(op.f("ck_item_finite"), "item", finite, schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
