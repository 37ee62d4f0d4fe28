"""View `batch_status` says how many items a minute each batch job brought home."""

revision = "0056"
down_revision = "0055"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {"batch/batch_status": "be613a48c4f8"}


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise RuntimeError("restore a backup, or go on with the two columns: older code reads the others")
