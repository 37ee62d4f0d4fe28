"""Let an incident be told in the daily digest alone."""

from alembic import op

revision = "0112"
down_revision = "0111"
sql_in_force = "7b34cd067366"  # migrations/schema/current/ after this revision

KNOWN = "{} in ('digest', 'warning', 'critical')"


def upgrade() -> None:
    for table, column in (("incident", "severity"), ("slack_post", "posted_severity")):
        name = f"ck_{table}_{column}_known"
        op.drop_constraint(name, table, schema="lanes")
        op.create_check_constraint(op.f(name), table, KNOWN.format(column), schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
