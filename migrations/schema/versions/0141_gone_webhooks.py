"""Note webhooks whose receiver is gone, and let an incident tell of it."""

from alembic import op

revision = "0141"
down_revision = "0140"
sql_in_force = "cfc8e46d9693"  # migrations/schema/current/ after this revision

PROMISES = (
    "batch_slow batch_failing batch_invalid batch_unclear batch_incomplete batch_never_started collect_stopped "
    "realtime_slow realtime_failing authoritative_failed workload_invalid items_failed provider_down approval_waits "
    "provider_frozen budget deadline_missed deadline_at_risk quality_drift model_changed role_taken feed_silent rule_raises "
    "routing_shifted guards_fire chance_wrong read_late bill_differs webhook_gone"
).split()


def upgrade() -> None:
    op.execute("alter table lanes.webhook add gone_at timestamptz")
    op.execute("alter table lanes.webhook drop constraint ck_webhook_finite")
    op.execute("""
alter table lanes.webhook add constraint ck_webhook_finite check (isfinite(rest_until) and isfinite(gone_at) and isfinite(delivered_at) and isfinite(lease_until) and isfinite(created_at))
""")
    known = ", ".join(f"'{each}'" for each in PROMISES)
    op.drop_constraint("ck_incident_promise_known", "incident", schema="lanes")
    op.create_check_constraint(
        op.f("ck_incident_promise_known"), "incident", f"promise in ({known})", schema="lanes"
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
