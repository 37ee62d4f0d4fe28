"""Let logins read what is of their own consumers."""

from alembic import op

revision = "0133"
down_revision = "0132"
sql_in_force = "2b13dba11559"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.execute("""
create table lanes.tenant (
  login text not null, consumer text not null, constraint pk_tenant primary key (login, consumer))
""")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
