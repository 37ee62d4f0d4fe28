"""How long facts took stands in one row for all of its buckets: a report of a month reads hundreds of rows, not tens of
thousands. Who asks by bucket asks the view that has the table's old name and columns.
"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0032"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "figures/figure_hist": "ec8dd01399d2", "figures/figure_hist_since": "fde3d313fd87", "figures/lane_latency": "c14b16662d4f",
}

KEY = "grain, kind, workload, at, lane, word, purpose, consumer, version_id"
# What stands on the table comes back from its file.
LEANING = ("view if exists lanes.lane_latency", "function if exists lanes.figure_hist_since(text[], timestamptz)")
NAMED_AFTER_IT = """
select conname from pg_constraint
 where conrelid = 'lanes.figure_spread'::regclass and contype = 'c' and conname like '%figure_hist%'
"""
GRAINS = {"minute": "Minutes", "hour": "Hours", "day": "Days"}
COMMENTS = {
    "buckets": "How long they took: 1.04^bucket to 1.04^(bucket + 1) milliseconds; -1: less than one",
    "counts": "How many took so long, of each bucket",
}


def upgrade() -> None:
    for each in LEANING:
        op.execute(f"drop {each}")
    op.execute(f"""
        create temporary table whole on commit drop as
        select {KEY}, array_agg(bucket) as buckets, array_agg(n) as counts from lanes.figure_hist where n <> 0 group by {KEY}
    """)
    op.execute("truncate lanes.figure_hist")
    op.execute("drop index lanes.uq_figure_hist")
    op.execute("""
        alter table lanes.figure_hist drop column bucket, drop column n,
          add column buckets int[] not null, add column counts bigint[] not null
    """)
    for column, comment in COMMENTS.items():
        op.execute(f"comment on column lanes.figure_hist.{column} is '{comment}'")
    op.execute("alter table lanes.figure_hist rename to figure_spread")
    for (constraint,) in op.get_bind().execute(sa.text(NAMED_AFTER_IT)).all():
        op.execute(f"alter table lanes.figure_spread rename constraint {constraint} to {constraint.replace('_hist', '_spread')}")
    for grain, called in GRAINS.items():
        op.execute(f"alter table lanes.figure_hist_{grain} rename to figure_spread_{grain}")
        op.create_table_comment(f"figure_spread_{grain}", f"{called} of lanes.figure_spread", schema="lanes")
    op.execute(f"insert into lanes.figure_spread ({KEY}, buckets, counts) select {KEY}, buckets, counts from whole")
    op.execute(f"create unique index uq_figure_spread on lanes.figure_spread ({KEY}) nulls not distinct")


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code counts each bucket in a row of its own")
