"""What items say may be kept for a while only: their payloads, answers, errors and explanations are emptied by their age."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0022"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    'doors/apply_amendment': 'a544a98e827b', 'figures/accuracy': 'eda8b729fac1',
    'settling/item_status': '1fac3abf046b', 'settling/read_result': '16287c77da05'
}


def upgrade() -> None:
    said = "When what it said was emptied by its age; null: it is still kept. Keys, hashes and costs stay"
    op.add_column("item", sa.Column("emptied_at", sa.DateTime(timezone=True), nullable=True, comment=said), schema="lanes")
    answer = "The answer; null: it was emptied by its item's age"
    op.alter_column("result", "output", nullable=True, comment=answer, schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code does not know that an answer can be empty")
