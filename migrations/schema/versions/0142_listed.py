"""List items by workload and time, and find rows of logs by their moments, without reading the history."""

from alembic import op

revision = "0142"
down_revision = "0141"
sql_in_force = "e62a269c38be"  # migrations/schema/current/ after this revision

indexes = {
    "ix_item_listed": "on lanes.item (workload, received_at, id)",
    "ix_item_moments": "on lanes.item using brin (received_at, answered_at, settled_at, canceled_at)",
    "ix_route_decided_at": "on lanes.route using brin (decided_at)",
    "ix_attempt_moments": "on lanes.attempt using brin (ended_at, started_at, batch_id)",
}


def upgrade() -> None:
    for name, made in indexes.items():
        op.execute(f"create index if not exists {name} {made}")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
