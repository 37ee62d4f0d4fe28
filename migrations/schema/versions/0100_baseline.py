"""Create every table of schema `lanes`: the first revision that upgrades start from."""

from pathlib import Path

from alembic import op

revision = "0100"
down_revision = None
sql_in_force = "044e96b014f7"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        Path(__file__).with_suffix(".sql").read_text(), execution_options={"no_parameters": True}
    )


def downgrade() -> None:
    raise NotImplementedError("drop schema lanes instead")
