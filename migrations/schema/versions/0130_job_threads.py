"""Let jobs have a thread in Slack."""

from alembic import op

revision = "0130"
down_revision = "0129"
sql_in_force = "6ab257a6f43b"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.execute("""
alter table lanes.slack_note
  add job_id bigint constraint uq_slack_note_job_id unique constraint fk_slack_note_job_id references lanes.job,
  add shown_at timestamptz, add ended_at timestamptz, drop constraint ck_slack_note_finite,
  add constraint ck_slack_note_finite check (
    isfinite(created_at) and isfinite(next_try_at) and isfinite(shown_at) and isfinite(ended_at))
""")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
