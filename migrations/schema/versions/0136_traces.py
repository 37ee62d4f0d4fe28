"""Let an item keep the trace of its sender."""

from alembic import op

revision = "0136"
down_revision = "0135"
sql_in_force = "201ce5588323"  # migrations/schema/current/ after this revision
ITEM = "text, jsonb, text, timestamptz, text, text, boolean, text, timestamptz, text"


def upgrade() -> None:
    op.execute("alter table lanes.item add trace bytea")
    op.execute(f"drop function if exists lanes.submit({ITEM}), lanes.submit_item({ITEM})")
    op.execute(f"drop function if exists lanes.admit_one({ITEM}, text, timestamptz)")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
