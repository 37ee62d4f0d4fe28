"""A rollout's share is shown in percent with two decimals."""

revision = "0026"
down_revision = "0025"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {'rollouts/rollout_log': 'b2ce75badcb4'}


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
