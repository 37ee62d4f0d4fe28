"""The doors screen once and refuse what no index takes; a refused input knows its key, an item that it is forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

KEYS_OF_REFUSED = """
    update lanes.rejected
       set key = coalesce(substring(detail from '^item "(.*)" of workload "'),
                          case when source in ('sql', 'client') then left(place, 512) end)
"""


def upgrade() -> None:
    op.add_column(
        "rejected", sa.Column("key", sa.Text(), nullable=True, comment="The key it came with, if any was read"),
        schema="lanes",
    )
    op.get_bind().exec_driver_sql(KEYS_OF_REFUSED)
    op.create_index("ix_rejected_key", "rejected", ["key"], schema="lanes")
    op.add_column(
        "item",
        sa.Column(
            "forgotten_at", sa.DateTime(timezone=True), nullable=True,
            comment="When what it said was erased; null: never. Nothing of it is written again",
        ),
        schema="lanes",
    )
    op.add_column(
        "batch",
        sa.Column(
            "pack_ids", sa.Text(), server_default=sa.text("'counted'"), nullable=False,
            comment="How its packs name their items: counted (1, 2, 3 ...) or derived (from its nonce, the request and the slot)",
        ),
        schema="lanes",
    )
    op.create_check_constraint(op.f("ck_batch_pack_ids_known"), "batch", "pack_ids in ('counted', 'derived')", schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code cannot read the packs that are out, nor what was forgotten")
