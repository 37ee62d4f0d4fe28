"""A role of Lanes that a session of another user holds is an incident."""

from alembic import op

revision = "0074"
down_revision = "0073"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "promises/incident_log": "3f091d12756b",
}

PROMISES = (
    "batch_slow", "batch_failing", "batch_invalid", "batch_unclear", "batch_incomplete", "batch_never_started",
    "realtime_slow", "realtime_failing", "authoritative_failed", "workload_invalid", "items_failed", "provider_down",
    "approval_waits", "provider_frozen", "budget", "deadline_missed", "deadline_at_risk", "role_taken",
)
UNITS = "minutes, percent, seconds, items, calls or fields"


def upgrade() -> None:
    known = op.f("ck_incident_promise_known")
    op.drop_constraint(known, "incident", schema="lanes")
    op.create_check_constraint(known, "incident", f"promise in ({', '.join(map(repr, PROMISES))})", schema="lanes")
    op.alter_column(
        "incident", "unit", comment=UNITS.replace("calls or fields", "calls, fields or sessions"), existing_comment=UNITS,
        schema="lanes",
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code knows no such promise")
