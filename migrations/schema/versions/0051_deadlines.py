"""Due times that were met and missed are counted, by lane and reason of the route; two promises are about them."""

from alembic import op

revision = "0051"
down_revision = "0050"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {"figures/count_items": "6388f850fae9"}

# The figures are rebuilt from the facts once those are in force.
fills_figures = True

KINDS = (
    "route", "attempt", "call", "result", "agreement", "correction", "buffer", "deadline", "gathered", "batch", "request", "carried", "item",
    "asked", "due", "urgent", "first", "read", "answer", "try", "compared", "label",
)
PROMISES = (
    "batch_slow", "batch_failing", "batch_invalid", "batch_unclear", "batch_incomplete", "batch_never_started",
    "realtime_slow", "realtime_failing", "authoritative_failed", "workload_invalid", "items_failed", "provider_down",
    "approval_waits", "provider_frozen", "budget", "deadline_missed", "deadline_at_risk",
)
FACTS = ("item", "route", "attempt", "response", "result", "correction", "read", "batch", "label")


def upgrade() -> None:
    # Nobody writes facts until they are counted anew.
    op.execute(f"lock table {', '.join(f'lanes.{table}' for table in FACTS)} in share row exclusive mode")
    for table in ("figure", "figure_spread", "figure_delta"):
        _known(table, "kind", KINDS)
    _known("incident", "promise", PROMISES)


def _known(table: str, column: str, words: tuple[str, ...]) -> None:
    name = op.f(f"ck_{table}_{column}_known")
    op.drop_constraint(name, table, schema="lanes")
    op.create_check_constraint(name, table, f"{column} in ({', '.join(map(repr, words))})", schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup: older functions do not count due times, and older code knows no such promise")
