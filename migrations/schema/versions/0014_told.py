"""Where an item stands follows its work, and items that fell back to a batch are found."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    _run_file("0014_views.sql")
    op.create_index(
        "ix_route_fallback", "route", ["decided_at"], schema="lanes", postgresql_where=sa.text("reason = 'fallback'")
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code does not know what this database holds")


def _run_file(name: str) -> None:
    sql = (Path(__file__).parents[1] / "sql" / name).read_text()
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)
