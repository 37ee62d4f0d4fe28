"""Name the host whose calls alone get no answer."""

import sqlalchemy as sa
from alembic import op

revision = "0134"
down_revision = "0133"
sql_in_force = "2b13dba11559"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.add_column("outage", sa.Column("host", sa.Text()), schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
