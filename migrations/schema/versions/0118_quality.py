"""Watch the quality of answers, and keep how each response was served."""

import sqlalchemy as sa
from alembic import op

revision = "0118"
down_revision = "0117"
sql_in_force = "c4a6e45010db"  # migrations/schema/current/ after this revision

PROMISES = (
    "promise in ('batch_slow', 'batch_failing', 'batch_invalid', 'batch_unclear', 'batch_incomplete', "
    "'batch_never_started', 'realtime_slow', 'realtime_failing', 'authoritative_failed', 'workload_invalid', "
    "'items_failed', 'provider_down', 'approval_waits', 'provider_frozen', 'budget', 'deadline_missed', "
    "'deadline_at_risk', 'quality_drift', 'model_changed', 'role_taken', 'feed_silent', 'rule_raises', "
    "'routing_shifted', 'guards_fire', 'chance_wrong', 'read_late', 'bill_differs')"
)
QUALITY = """
create table lanes.quality (
  workload text not null, version_id bigint not null, lane text not null, measure text not null, field text not null,
  watch jsonb not null, has_drift boolean not null, updated_at timestamptz not null,
  constraint pk_quality primary key (version_id, lane, measure, field),
  constraint ck_quality_lane_known check (lane in ('realtime', 'batch')),
  constraint ck_quality_measure_known check (measure in ('field', 'outcome', 'correction', 'accuracy', 'served')),
  constraint ck_quality_finite check (isfinite(updated_at)))
"""


def upgrade() -> None:
    for name in ("service_tier", "inference_geo", "speed"):
        op.add_column("response", sa.Column(name, sa.Text()), schema="lanes")
    op.drop_constraint("ck_incident_promise_known", "incident", schema="lanes")
    op.create_check_constraint(
        op.f("ck_incident_promise_known"), "incident", PROMISES, schema="lanes"
    )
    op.add_column("watermark", sa.Column("position", sa.BigInteger()), schema="lanes")
    op.execute(QUALITY)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
