"""Keep what each pass read, so that context that comes late asks again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0128"
down_revision = "0127"
sql_in_force = "b8bbdcbe47e9"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    for table, name in (("work", "context"), ("workload", "late_context")):
        op.add_column(table, sa.Column(name, JSONB()), schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
