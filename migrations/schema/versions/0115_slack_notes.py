"""Let a person silence or acknowledge an incident, and Slack be told replies, rollouts and digests."""

from alembic import op

revision = "0115"
down_revision = "0114"
sql_in_force = "a68f3d5fbd25"  # migrations/schema/current/ after this revision

CHANGES = """
alter table lanes.incident
  add handling text constraint ck_incident_handling_known check (handling in ('silenced', 'acknowledged')),
  add handled_by text, add handled_why text, add handled_at timestamptz, add handled_until timestamptz,
  drop constraint ck_incident_finite,
  add constraint ck_incident_finite check (
    isfinite(opened_at) and isfinite(updated_at) and isfinite(resolved_at) and isfinite(handled_at)
    and isfinite(handled_until));
create table lanes.slack_note (
  id bigint generated always as identity constraint pk_slack_note primary key,
  uid uuid not null default uuidv7() constraint uq_slack_note_uid unique,
  rollout_id bigint constraint uq_slack_note_rollout_id unique
    constraint fk_slack_note_rollout_id references lanes.rollout,
  day date constraint uq_slack_note_day unique,
  content jsonb, channel text, thread_ts text, ts text,
  events bigint not null default 0, created_at timestamptz not null, unsure boolean not null default false,
  attempts integer not null default 0, next_try_at timestamptz, last_error text,
  constraint ck_slack_note_finite check (isfinite(created_at) and isfinite(next_try_at)));
create index ix_slack_note_due on lanes.slack_note (next_try_at, id) where next_try_at is not null;
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
