"""Figures are counted by version where a fact has one, and count batches and how long real time let items wait."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "figures/attempt_figures": "23e0eedeedd7",
    "figures/batch_count_added": "2dff75742f90",
    "figures/batch_count_moved": "ef4a20ac13b6",
    "figures/correction_figures": "7ebab7414c4c",
    "figures/count_batches": "285f850a5541",
    "figures/keep_batches": "cf0a69d27d9e",
    "figures/result_figures": "b9758355a0ef",
    "figures/route_figures": "39d9bf1592c4",
}

# The figures are rebuilt from the facts once those are in force.
fills_figures = True

KINDS = (
    "route", "attempt", "call", "result", "agreement", "correction", "buffer", "batch", "request", "carried", "item", "asked",
    "due", "urgent", "first", "read", "answer", "try", "compared",
)  # fmt: skip
NO_NEED = ("items", "usd", "bound_usd", "realtime_usd", "batch_usd", "input", "output", "cached", "written")


def upgrade() -> None:
    known = ", ".join(map(repr, KINDS))
    for table in ("figure", "figure_hist", "figure_delta"):
        op.execute(f"truncate lanes.{table}")
        op.drop_constraint(op.f(f"ck_{table}_kind_known"), table, schema="lanes")
        op.create_check_constraint(op.f(f"ck_{table}_kind_known"), table, f"kind in ({known})", schema="lanes")
    for column in NO_NEED:
        op.alter_column("figure_delta", column, server_default=sa.text("0"), schema="lanes")
    # Nobody writes facts until they are counted anew.
    op.execute(
        "lock table lanes.item, lanes.route, lanes.attempt, lanes.response, lanes.result, lanes.correction, lanes.read, lanes.batch"
        " in share row exclusive mode"
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup, or go on with the figures: older code does not read the new kinds")
