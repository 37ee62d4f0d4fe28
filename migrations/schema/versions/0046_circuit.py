"""An outage has its circuit, which all drains share; an incident that another explains says so."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {"promises/incident_log": "2995c6cbe5b0"}

Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    for name, of_old, comment in (
        (
            "state", "'closed'",
            "Of its circuit. closed: calls are answered, a drain opens it again; resting: a drain probes it; "
            "probing: the prober, or the next one",
        ),
        ("rests", 0, "In a row, each longer than the one before"),
        ("turn", 0, "Rises with each change of its circuit; fences what was decided before"),
    ):
        type_ = sa.Text() if name == "state" else sa.Integer()
        column = sa.Column(name, type_, nullable=False, server_default=sa.text(str(of_old)), comment=comment)
        op.add_column("outage", column, schema="lanes")
        op.alter_column("outage", name, schema="lanes", server_default=None)
    op.add_column(
        "outage",
        sa.Column("next_probe_at", Moment, nullable=True, comment="No drain probes it before; null: its circuit is closed"),
        schema="lanes",
    )
    for name, comment in {
        "faulted_at": "When the last call that counts faulted",
        "faults": "Calls in a row without an answer, as far as they count",
    }.items():
        op.alter_column("outage", name, schema="lanes", comment=comment)
    op.create_check_constraint(
        op.f("ck_outage_state_known"), "outage", "state in ('closed', 'resting', 'probing')", schema="lanes"
    )
    op.create_check_constraint(
        op.f("ck_outage_probed_while_open"), "outage", "(state = 'closed') = (next_probe_at is null)", schema="lanes"
    )
    op.create_table_comment(
        "outage",
        "A model of an account that answered nobody for a while, with its circuit; without an open one, that is closed",
        schema="lanes",
    )
    op.add_column(
        "incident",
        sa.Column(
            "parent_id", sa.BigInteger(), nullable=True,
            comment="The incident that explains it, as far as is known; it is told once that is over and it is not. null: none",
        ),
        schema="lanes",
    )
    op.create_foreign_key(
        op.f("fk_incident_parent_id"), "incident", "incident", ["parent_id"], ["id"],
        source_schema="lanes", referent_schema="lanes",
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code knows no circuits and writes outages without them")
