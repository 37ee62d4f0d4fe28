"""Who waits for an item hears that it was canceled."""

revision = "0018"
down_revision = "0017"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {"doors/cancel": "7d31103a3044"}


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
