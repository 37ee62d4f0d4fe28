"""Keep golden sets, the answers of versions to them, and the runs that compare a candidate with the version in force."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0109"
down_revision = "0108"
sql_in_force = "79222d7c73a5"  # migrations/schema/current/ after this revision

BILLED = ("work", "response", "attempt", "figure", "figure_spread", "figure_delta")
PURPOSES = "purpose in ('answer', 'authoritative', 'shadow', 'replay', 'golden')"
LANES = "lane in ('realtime', 'batch')"
STATES = "state in ('running', 'passed', 'refused', 'replaced')"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    for table in BILLED:
        name = f"ck_{table}_purpose_known"
        op.drop_constraint(name, table, schema="lanes")
        op.create_check_constraint(op.f(name), table, PURPOSES, schema="lanes")
    op.create_table(
        "golden_item",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("workload", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("item_id", sa.BigInteger, nullable=False),
        sa.Column("expected", postgresql.JSONB, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.Column("removed_at", MOMENT),
        sa.CheckConstraint(
            "isfinite(added_at) and isfinite(removed_at)", name=op.f("ck_golden_item_finite")
        ),
        _refers("golden_item", "item_id", "item.id"),
        _refers("golden_item", "workload", "workload.name"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_golden_item")),
        schema="lanes",
    )
    _open_index("uq_golden_item_key", "golden_item", ["workload", "key"], "removed_at is null")
    op.create_table(
        "golden_answer",
        sa.Column("item_id", sa.BigInteger, nullable=False),
        sa.Column("version_id", sa.BigInteger, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("output", postgresql.JSONB, nullable=False),
        sa.Column("answered_at", MOMENT, nullable=False),
        sa.CheckConstraint("isfinite(answered_at)", name=op.f("ck_golden_answer_finite")),
        sa.CheckConstraint(LANES, name=op.f("ck_golden_answer_lane_known")),
        _refers("golden_answer", "item_id", "item.id"),
        _refers("golden_answer", "version_id", "version.id"),
        sa.PrimaryKeyConstraint("item_id", "version_id", "lane", name=op.f("pk_golden_answer")),
        schema="lanes",
    )
    op.create_table(
        "golden_run",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("workload", sa.Text, nullable=False),
        sa.Column("version_id", sa.BigInteger, nullable=False),
        sa.Column("before_id", sa.BigInteger),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("golden", sa.ARRAY(sa.BigInteger), nullable=False),
        sa.Column("right_now", sa.Integer),
        sa.Column("right_before", sa.Integer),
        sa.Column("lost", sa.Integer),
        sa.Column("lost_keys", sa.ARRAY(sa.Text)),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.CheckConstraint(
            "isfinite(began_at) and isfinite(ended_at)", name=op.f("ck_golden_run_finite")
        ),
        sa.CheckConstraint(LANES, name=op.f("ck_golden_run_lane_known")),
        sa.CheckConstraint(STATES, name=op.f("ck_golden_run_state_known")),
        _refers("golden_run", "workload", "workload.name"),
        _refers("golden_run", "version_id", "version.id"),
        _refers("golden_run", "before_id", "version.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_golden_run")),
        schema="lanes",
    )
    _open_index("uq_golden_run_open", "golden_run", ["workload"], "state = 'running'")


def _refers(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"lanes.{to}"], name=op.f(f"fk_{table}_{column}"))


def _open_index(name: str, table: str, columns: list[str], where: str) -> None:
    wanted = sa.text(where)
    op.create_index(name, table, columns, unique=True, schema="lanes", postgresql_where=wanted)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
