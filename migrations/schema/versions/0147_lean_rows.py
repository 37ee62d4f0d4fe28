"""Write fewer bytes an item: no index of routes and of responses that BRIN can replace, and updates of work in their page."""

from alembic import op

revision = "0147"
down_revision = "0146"
sql_in_force = "4e0e2ebb2214"  # migrations/schema/current/ after this revision

indexes = {"ix_response_moments": "on lanes.response using brin (billed_at, id)"}


def upgrade() -> None:
    for name, made in indexes.items():
        op.execute(f"create index if not exists {name} {made}")
    op.execute("alter table lanes.response drop constraint if exists pk_response")
    op.execute("drop index if exists lanes.ix_response_billed_at")
    op.execute("drop index if exists lanes.ix_route_split")
    op.execute("alter table lanes.work set (fillfactor = 70)")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
