"""Amendments carry their event time; which spans of the event stream were read; queries that read what they need."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    as_of = "When the amendment in force occurred: an older one is outdated. Null: there is none"
    op.add_column("item", sa.Column("as_of", MOMENT, nullable=True, comment=as_of), schema="lanes")
    _say("item", "payload", JSONB(), "The revision of the input that is in force")
    _say("item", "revision", sa.Integer(), "Which is in force: 0, or an amendment's")
    occurred = "Event time; null: not known"
    op.add_column("revision", sa.Column("occurred_at", MOMENT, nullable=True, comment=occurred), schema="lanes")
    op.add_column(
        "revision",
        sa.Column(
            "outdated", sa.Boolean(), nullable=False, server_default=sa.text("false"),
            comment="Older than what was in force when it was read: never in force",
        ),
        schema="lanes",
    )
    occurred = "Event time; null: received_at"
    op.add_column("amendment", sa.Column("occurred_at", MOMENT, nullable=True, comment=occurred), schema="lanes")
    op.drop_constraint(op.f("ck_amendment_outcome_known"), "amendment", schema="lanes")
    op.create_check_constraint(
        op.f("ck_amendment_outcome_known"), "amendment",
        "outcome in ('amended', 'duplicate', 'outdated', 'canceled')", schema="lanes",
    )
    said = "amended, duplicate, outdated or canceled; null: waits for its item, the router applies it"
    _say("amendment", "outcome", sa.Text(), said)
    op.execute("update lanes.item set as_of = r.received_at from lanes.revision r "
               "where item.revision > 0 and r.item_id = item.id and r.number = item.revision")
    op.create_table(
        "stored_span",
        sa.Column("start_at", MOMENT, nullable=False, comment="The span is five minutes long"),
        sa.Column(
            "events", sa.Integer(), nullable=False, comment="How many events Prefect's store held when it was read"
        ),
        sa.PrimaryKeyConstraint("start_at", name=op.f("pk_stored_span")),
        schema="lanes",
        comment="Spans of the event stream that were read whole; one that grew since is read again. Kept for a day",
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code does not know what this database holds")


def _say(table: str, column: str, type_: sa.types.TypeEngine, comment: str) -> None:
    op.alter_column(table, column, comment=comment, schema="lanes", existing_type=type_)
