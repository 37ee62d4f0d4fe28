"""Keep what is doubtful of a batch in a table of its own, and name the time that work has waited since."""

import sqlalchemy as sa
from alembic import op

from lanes.errors import SetupError

revision = "0101"
down_revision = "0100"
sql_in_force = "7ac8659e7b45"  # migrations/schema/current/ after this revision

UNREAD = """
select id from lanes.batch
 where pack_ids = 'counted' and items > requests and state not in ('collected', 'released') limit 1
"""
MOVE = """
insert into lanes.batch_doubt (batch_id, create_ended_at, searched_at, unknown_since,
                               short_reads, short_read_lacking, short_read_at)
select id, create_ended_at, searched_at, unknown_since, short_reads, short_read_lacking, short_read_at
  from lanes.batch
 where short_reads > 0 or num_nonnulls(create_ended_at, searched_at, unknown_since) > 0
"""
MOVED = (
    "create_ended_at", "searched_at", "unknown_since", "short_reads", "short_read_lacking", "short_read_at",
    "adopted_at", "proved_at", "pack_ids",
)


def upgrade() -> None:
    unread = op.get_bind().execute(sa.text(UNREAD)).scalar()
    if unread is not None:
        raise SetupError(
            f"batch {unread} was packed by an earlier checkout, and its answers are still out: "
            "collect it with that checkout before you upgrade"
        )
    op.alter_column("work", "created_at", new_column_name="waits_since", schema="lanes")
    op.create_table(
        "batch_doubt",
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("create_ended_at", sa.DateTime(timezone=True)),
        sa.Column("searched_at", sa.DateTime(timezone=True)),
        sa.Column("unknown_since", sa.DateTime(timezone=True)),
        sa.Column("short_reads", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("short_read_lacking", sa.Text()),
        sa.Column("short_read_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "isfinite(create_ended_at) and isfinite(searched_at) and isfinite(unknown_since) "
            "and isfinite(short_read_at)",
            name=op.f("ck_batch_doubt_finite"),
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["lanes.batch.id"], name=op.f("fk_batch_doubt_batch_id")
        ),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batch_doubt")),
        schema="lanes",
    )
    op.execute(MOVE)
    op.add_column(
        "batch",
        sa.Column("unproved", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema="lanes",
    )
    op.execute("alter table lanes.batch disable trigger user")  # they call functions
    op.execute(
        "update lanes.batch set unproved = true where adopted_at is not null and proved_at is null"
    )
    op.execute("alter table lanes.batch enable trigger user")
    op.drop_index("uq_batch_unresolved_requests", "batch", schema="lanes")
    op.drop_constraint("ck_batch_finite", "batch", schema="lanes")
    for column in MOVED:
        op.drop_column("batch", column, schema="lanes")
    op.create_check_constraint(
        op.f("ck_batch_finite"),
        "batch",
        "isfinite(intended_at) and isfinite(cancel_at) and isfinite(submitted_at) and isfinite(expected_end_at) "
        "and isfinite(stated_back_at) and isfinite(ended_at) and isfinite(collected_at)",
        schema="lanes",
    )
    op.create_index(
        "uq_batch_unresolved_requests",
        "batch",
        ["account", "requests"],
        unique=True,
        schema="lanes",
        postgresql_where=sa.text(
            "state in ('intended', 'held') or (state in ('submitted', 'ended') and unproved)"
        ),
    )
    op.execute(
        "update lanes.version set spec = spec || jsonb_build_object('announces', announces) where not spec ? 'announces'"
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
