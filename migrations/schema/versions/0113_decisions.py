"""Count rules that could not be evaluated, with their errors in routes, and judge the decisions of routing."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0113"
down_revision = "0112"
sql_in_force = "1f9394de5876"  # migrations/schema/current/ after this revision

KINDS = (
    "route raised attempt call result agreement correction buffer deadline gathered batch request "
    "carried item asked due urgent first read answer try compared"
)
PROMISES = (
    "batch_slow batch_failing batch_invalid batch_unclear batch_incomplete batch_never_started "
    "realtime_slow realtime_failing authoritative_failed workload_invalid items_failed "
    "provider_down approval_waits provider_frozen budget deadline_missed deadline_at_risk "
    "role_taken rule_raises routing_shifted guards_fire chance_wrong read_late"
)
KNOWN = {
    "figure": ("kind", KINDS),
    "figure_spread": ("kind", KINDS),
    "figure_delta": ("kind", KINDS),
    "incident": ("promise", PROMISES),
}


def upgrade() -> None:
    for table, (column, words) in KNOWN.items():
        name, known = f"ck_{table}_{column}_known", ", ".join(f"'{each}'" for each in words.split())
        op.drop_constraint(name, table, schema="lanes")
        op.create_check_constraint(op.f(name), table, f"{column} in ({known})", schema="lanes")
    op.add_column("route", sa.Column("raised", JSONB, nullable=True), schema="lanes")
    raised = sa.text("raised is not null")
    columns = ["version_id", "id"]
    op.create_index("ix_route_raised", "route", columns, schema="lanes", postgresql_where=raised)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
