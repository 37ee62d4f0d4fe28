"""SQL refuses an input for the same reasons, in the same order and words, as the doors of events and files."""

from alembic import op

revision = "0069"
down_revision = "0068"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "doors/admit_one": "1e0a518e47a7",
    "doors/field_names": "1e358e57afdb",
    "doors/in_a_zone": "aa5b310f04d1",
    "doors/is_a_moment": "99dddc23b80c",
    "doors/refusal": "1b9190de2152",
    "doors/screened": "0dec7eeb368b",
    "doors/unreadable": "7216afaf6e16",
}


def upgrade() -> None:
    op.execute("drop function if exists lanes.screened(jsonb, text, text)")
    op.execute(
        "drop function if exists lanes.refusal(boolean, jsonb, text, int, jsonb, text, text, text, text, text, text, text, text)"
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: what was refused since is not known to the version before")
