"""Say that a post's `last_error` may be the reason why any details are missing, not only links."""

from alembic import op

revision = "0156"
down_revision = "0155"
sql_in_force = "983742f08b0b"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.execute(
        "comment on column lanes.slack_post.last_error is 'Why the last try failed, or why details are missing'"
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
