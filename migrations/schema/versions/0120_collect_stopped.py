"""Let incidents tell that batches are not collected."""

from alembic import op

revision = "0120"
down_revision = "0119"
sql_in_force = "6b85413379ae"  # migrations/schema/current/ after this revision

PROMISES = (
    "batch_slow batch_failing batch_invalid batch_unclear batch_incomplete batch_never_started collect_stopped "
    "realtime_slow realtime_failing authoritative_failed workload_invalid items_failed provider_down approval_waits "
    "provider_frozen budget deadline_missed deadline_at_risk quality_drift model_changed role_taken feed_silent rule_raises "
    "routing_shifted guards_fire chance_wrong read_late bill_differs"
).split()


def upgrade() -> None:
    known = ", ".join(f"'{each}'" for each in PROMISES)
    op.drop_constraint("ck_incident_promise_known", "incident", schema="lanes")
    op.create_check_constraint(
        op.f("ck_incident_promise_known"), "incident", f"promise in ({known})", schema="lanes"
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
