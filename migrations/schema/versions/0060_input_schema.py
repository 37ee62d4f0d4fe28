"""A version may have an input schema, by which every door refuses inputs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0060"
down_revision = "0059"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "doors/admit": "77b9f8050a78", "doors/admit_one": "2929bb12c00c", "doors/input_refusal": "2f636a6e2259",
    "doors/may_be_known": "77f6a597dd39", "doors/schema_fault": "684e18247d98", "doors/screened": "43f034befb6a",
    "doors/take_amendment": "7cd592d6715a",
}


def upgrade() -> None:
    comment = "An input that breaks it is refused; null: any JSON object is taken"
    op.add_column("version", sa.Column("input_schema", JSONB(), nullable=True, comment=comment), schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup, or go on without the column: older code does not read it")
