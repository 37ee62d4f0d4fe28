"""Let a query of a log skip the tables whose columns it does not use, and say what a post's `last_error` may be."""

from alembic import op

revision = "0155"
down_revision = "0154"
sql_in_force = "983742f08b0b"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.execute(
        "comment on column lanes.slack_post.last_error is 'Why the last try failed, or why links are missing'"
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
