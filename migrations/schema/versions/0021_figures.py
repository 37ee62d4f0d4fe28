"""Facts are folded into minutes, hours and days as they are written; those that are there already are folded now."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0021"
down_revision = "0020"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "figures/attempt_count_added": "e812b931ddd1",
    "figures/attempt_figures": "883b60b13232",
    "figures/correction_count_added": "e59e1eb93cd1",
    "figures/correction_figures": "8bd9a1bb1866",
    "figures/count_added": "f479f2b6ceb1",
    "figures/count_moved": "d8daad3fa1b6",
    "figures/figure_bucket": "d6ec3000bb28",
    "figures/figure_hist_since": "daf41ea18a9c",
    "figures/figure_row": "7025ba4aefd2",
    "figures/figure_seconds": "af2951827012",
    "figures/figure_weight": "7c6aeb5397ce",
    "figures/figures_since": "1dfc19d0a680",
    "figures/item_count_moved": "d83f695a10e9",
    "figures/item_figures": "7408e658d7a9",
    "figures/item_state": "33acbe856263",
    "figures/keep_figures": "401a2d28ed7e",
    "figures/lane_latency": "1277d7d422f2",
    "figures/read_count_added": "3522e35dd900",
    "figures/response_count_added": "58492db82083",
    "figures/response_figures": "0280d24cd3fc",
    "figures/result_count_added": "3ee3ca710ab8",
    "figures/result_figures": "79cc911be1c4",
    "figures/route_count_added": "aa8dcc7f3353",
    "figures/route_figures": "aefad98c6b5b",
    "figures/routing_mix": "1aa93630403a",
}

# The figures are rebuilt from the facts once those are in force.
fills_figures = True

KINDS = (
    "route", "attempt", "call", "result", "agreement", "correction", "item", "asked", "due", "urgent", "first", "read",
    "answer", "try", "compared",
)
WORDS = {
    "kind": KINDS, "lane": ("realtime", "batch"), "purpose": ("answer", "authoritative", "shadow", "replay"),
}
GRAINS = ("minute", "hour", "day")
BEGINS = "When that begins"
GRAIN = "minute, hour or day (of UTC)"
APART = "Null: not counted apart"
CONSUMER = "Null: not counted apart, or nobody; other: all but the first fifty"
WORD = "Its reason, outcome or standing"
USD = sa.Numeric(20, 10)
MOMENT = sa.DateTime(timezone=True)
KEY = ("grain", "kind", "workload", "at", "lane", "word", "purpose", "consumer", "version_id")

MEASURES = (
    ("items", sa.BigInteger(), "Of those, or in those: as the kind says"),
    ("usd", USD, "Billed"),
    ("bound_usd", USD, "The most that was billed and is not known"),
    ("realtime_usd", USD, "What real-time would cost, estimated"),
    ("batch_usd", USD, "What batch would cost, estimated"),
    ("input", sa.BigInteger(), "Input tokens, without cached ones"),
    ("output", sa.BigInteger(), "Output tokens"),
    ("cached", sa.BigInteger(), "Input tokens read from a cache"),
    ("written", sa.BigInteger(), "Input tokens written to a cache"),
)


def upgrade() -> None:
    op.create_table(
        "figure",
        sa.Column("grain", sa.Text(), nullable=False, comment=GRAIN),
        sa.Column("at", MOMENT, nullable=False, comment=BEGINS),
        *_whose("What is counted: lanes/figures/kinds.py says it of each"),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="How many"),
        *(
            sa.Column(name, type_, nullable=False, server_default=sa.text("0"), comment=comment)
            for name, type_, comment in MEASURES
        ),
        sa.Column("first_at", MOMENT, nullable=True, comment="Of tries: when the first began"),
        sa.Column("last_at", MOMENT, nullable=True, comment="Of tries: when the last ended"),
        *_known("figure", grain=GRAINS, **WORDS),
        schema="lanes",
        comment="Facts by minute, hour and day; what is not folded yet stands in figure_delta, and readers add both",
    )
    op.create_index("uq_figure", "figure", list(KEY), unique=True, schema="lanes", postgresql_nulls_not_distinct=True)
    op.create_index(
        "ix_figure_peak", "figure", ["workload", "at"], schema="lanes", postgresql_include=["n"],
        postgresql_where=sa.text("grain = 'minute' and kind = 'item' and word <> 'canceled'"),
    )
    op.create_table(
        "figure_hist",
        sa.Column("grain", sa.Text(), nullable=False, comment=GRAIN),
        sa.Column("at", MOMENT, nullable=False, comment=BEGINS),
        *_whose("What was timed: lanes/figures/kinds.py says it of each"),
        sa.Column(
            "bucket", sa.Integer(), nullable=False,
            comment="1.04^bucket to 1.04^(bucket + 1) milliseconds; -1: less than one",
        ),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="How many took so long"),
        *_known("figure_hist", grain=GRAINS, **WORDS),
        schema="lanes",
        comment="How long what figures count took: percentiles of any sum of it are right within two per cent",
    )
    op.create_index(
        "uq_figure_hist", "figure_hist", [*KEY, "bucket"], unique=True, schema="lanes", postgresql_nulls_not_distinct=True
    )
    op.create_table(
        "figure_delta",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", MOMENT, nullable=False, comment="The minute"),
        *_whose(None),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="How many more; negative: how many fewer"),
        *(sa.Column(name, type_, nullable=False) for name, type_, _ in MEASURES),
        sa.Column("first_at", MOMENT, nullable=True),
        sa.Column("last_at", MOMENT, nullable=True),
        sa.Column("buckets", ARRAY(sa.Integer()), nullable=True, comment="How long they took"),
        sa.Column("counts", ARRAY(sa.BigInteger()), nullable=True, comment="How many more of each bucket"),
        *_known("figure_delta", **WORDS),
        sa.PrimaryKeyConstraint("id", name="pk_figure_delta"),
        schema="lanes",
        comment="What each transaction adds to the figures, written with its facts; the folder moves it into them",
    )
    op.create_table(
        "figure_consumer",
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workload", "consumer", name="pk_figure_consumer"),
        schema="lanes",
        comment="The consumers of each workload that figures count apart: the first fifty",
    )
    op.create_index(
        "ix_item_failure", "item", ["id"], schema="lanes", postgresql_where=sa.text("failure is not null")
    )


def downgrade() -> None:
    op.drop_index("ix_item_failure", "item", schema="lanes")
    for table in ("figure_consumer", "figure_delta", "figure_hist", "figure"):
        op.drop_table(table, schema="lanes")


def _whose(kind: str | None) -> list[sa.Column[object]]:
    """The columns that say whose figure it is; those of a delta say it without a comment."""
    columns = (
        ("workload", sa.Text(), False, None),
        ("version_id", sa.BigInteger(), True, APART),
        ("lane", sa.Text(), True, f"{APART}, or none"),
        ("purpose", sa.Text(), True, APART),
        ("consumer", sa.Text(), True, CONSUMER),
        ("kind", sa.Text(), False, kind),
        ("word", sa.Text(), True, WORD),
    )
    return [
        sa.Column(name, type_, nullable=nullable, comment=kind and comment) for name, type_, nullable, comment in columns
    ]


def _known(table: str, **columns: tuple[str, ...]) -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint(f"{column} in ({', '.join(map(repr, words))})", name=op.f(f"ck_{table}_{column}_known"))
        for column, words in columns.items()
    ]
