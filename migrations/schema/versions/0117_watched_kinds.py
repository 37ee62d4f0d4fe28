"""Let figures count what `watch` counts for burn rates: answers in time, and tries in real time."""

from alembic import op

revision = "0117"
down_revision = "0116"
sql_in_force = "63c9e9e48045"  # migrations/schema/current/ after this revision

KINDS = (
    "kind in ('route', 'raised', 'attempt', 'call', 'result', 'agreement', 'correction', 'buffer', 'deadline', 'gathered', 'timely',"
    " 'tried', 'batch', 'request', 'carried', 'item', 'asked', 'due', 'urgent', 'first', 'read', 'answer', 'try', 'compared')"
)


def upgrade() -> None:
    for table in ("figure", "figure_spread", "figure_delta"):
        name = f"ck_{table}_kind_known"
        op.drop_constraint(name, table, schema="lanes")
        op.create_check_constraint(op.f(name), table, KINDS, schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
