"""Let no plan tell a tenant of rows of others."""

from alembic import op

revision = "0143"
down_revision = "0142"
sql_in_force = "239e69ccb181"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.execute("""
create index ix_item_consumer on lanes.item (consumer, id) where consumer is not null
""")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
