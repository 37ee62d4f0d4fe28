"""Days, hours and minutes of figures lie apart, the busiest minute of an hour is kept, and gates find what a split decided."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0029"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {"figures/figure_hist_since": "3f916cbfdd01", "figures/figures_since": "8a3173112fc6"}

KEY = "grain, kind, workload, at, lane, word, purpose, consumer, version_id"
TABLES = {"figure": KEY, "figure_hist": f"{KEY}, bucket"}
GRAINS = {"minute": "Minutes", "hour": "Hours", "day": "Days"}
# What stands on the tables comes back from its file.
LEANING = (
    "view if exists lanes.accuracy", "view if exists lanes.lane_latency", "view if exists lanes.routing_mix",
    "function if exists lanes.figures_since(text[], timestamptz)",
    "function if exists lanes.figure_hist_since(text[], timestamptz)",
)


def upgrade() -> None:
    op.create_index(
        "ix_route_split", "route", ["lane", "id"], schema="lanes", postgresql_where=sa.text("reason = 'split'")
    )
    for each in LEANING:
        op.execute(f"drop {each}")
    op.drop_index("ix_figure_peak", "figure", schema="lanes")
    for table, key in TABLES.items():
        _divide(table, key)
    op.create_index(
        "ix_figure_peak", "figure", ["workload", "at"], schema="lanes", postgresql_include=["n"],
        postgresql_where=sa.text("grain = 'minute' and kind = 'item' and word <> 'canceled'"),
    )
    _keep_peaks()
    op.execute("""
        with apart as (delete from lanes.figure_hist where kind = 'first' returning *)
        insert into lanes.figure_hist (grain, at, workload, version_id, lane, purpose, consumer, kind, word, bucket, n)
        select grain, at, workload, version_id, lane, purpose, null, kind, word, bucket, sum(n)
          from apart group by 1, 2, 3, 4, 5, 6, 8, 9, 10
    """)


def _divide(table: str, key: str) -> None:
    """The same table with the same rows, in a part for each grain."""
    op.execute(f"alter table lanes.{table} rename to {table}_whole")
    op.execute(f"drop index lanes.uq_{table}")
    op.execute(f"create table lanes.{table} (like lanes.{table}_whole including all) partition by list (grain)")
    comment = op.get_bind().execute(sa.text(f"select obj_description('lanes.{table}_whole'::regclass)")).scalar_one()
    op.create_table_comment(table, comment, schema="lanes")
    for grain, called in GRAINS.items():
        # A day is written over and over: with room in its page for another of each row, no index changes (HOT).
        room = "" if grain == "minute" else " with (fillfactor = 70)"
        op.execute(f"create table lanes.{table}_{grain} partition of lanes.{table} for values in ('{grain}'){room}")
        op.create_table_comment(f"{table}_{grain}", f"{called} of lanes.{table}", schema="lanes")
    op.execute(f"insert into lanes.{table} select * from lanes.{table}_whole")
    op.execute(f"create unique index uq_{table} on lanes.{table} ({key}) nulls not distinct")
    op.execute(f"drop table lanes.{table}_whole")


def _keep_peaks() -> None:
    op.create_table(
        "figure_peak",
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="When the hour begins"),
        sa.Column(
            "n", sa.BigInteger(), nullable=False,
            comment="Items that were received in its busiest minute, without canceled ones",
        ),
        sa.PrimaryKeyConstraint("workload", "at", name=op.f("pk_figure_peak")),
        schema="lanes",
        comment="The busiest minute of each hour, which is no sum: the folder keeps it as the minutes of `figure` have it",
    )
    op.execute("""
        insert into lanes.figure_peak (workload, at, n)
        select workload, date_trunc('hour', at, 'UTC'), max(n)
          from (select workload, at, sum(n) as n from lanes.figure
                 where grain = 'minute' and kind = 'item' and word <> 'canceled' group by 1, 2) minutes
         group by 1, 2
    """)


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code counts what was answered first by its consumer")
