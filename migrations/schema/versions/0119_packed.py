"""Watch packed answers against single ones."""

from alembic import op

revision = "0119"
down_revision = "0118"
sql_in_force = "c4a6e45010db"  # migrations/schema/current/ after this revision

MEASURES = "measure in ('field', 'outcome', 'correction', 'accuracy', 'packed', 'served')"


def upgrade() -> None:
    name = "ck_quality_measure_known"
    op.drop_constraint(name, "quality", schema="lanes")
    op.create_check_constraint(op.f(name), "quality", MEASURES, schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
