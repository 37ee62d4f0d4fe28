"""Whoever is on call finds the cause: an incident keeps it, and attempts, batches and incidents name their run."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    _add("incident", "why", sa.Text(), "What its opener met, in words; null: its briefing says why")
    _add("incident", "opened_value", sa.Double(), "The first measurement; null: older than this column")
    _add("incident", "flow_run_id", sa.Uuid(), "The run that met it, the newest of several; null: it was measured")
    _add("incident", "block_id", sa.Uuid(), "The block in Prefect that it is about; null: none")
    _add("incident", "briefing", JSONB(), "What Slack was told last of its cause, its stakes and its trend; null: nothing yet")
    _add("attempt", "flow_run_id", sa.Uuid(), "The run that saved it; null: none did, or it is older than this column")
    _add("batch", "flow_run_id", sa.Uuid(), "The run of submit that intended it; null: older than this column")


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code does not know what this database holds")


def _add(table: str, name: str, type_: sa.types.TypeEngine, comment: str) -> None:
    op.add_column(table, sa.Column(name, type_, nullable=True, comment=comment), schema="lanes")
