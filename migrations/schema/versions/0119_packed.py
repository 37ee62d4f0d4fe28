"""Watch packed answers against single ones, and show with each attempt what served it."""

from alembic import op

revision = "0119"
down_revision = "0118"
sql_in_force = "6b85413379ae"  # migrations/schema/current/ after this revision

MEASURES = "measure in ('field', 'outcome', 'correction', 'accuracy', 'packed', 'served')"


def upgrade() -> None:
    name = "ck_quality_measure_known"
    op.drop_constraint(name, "quality", schema="lanes")
    op.create_check_constraint(op.f(name), "quality", MEASURES, schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
