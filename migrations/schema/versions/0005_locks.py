"""An attempt exists once; what waits for the router is found by urgency; nobody's open transaction holds up others."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    _run_file('0005_attempts.sql')
    op.create_index('uq_attempt_once', 'attempt', ['work_id', 'claim_no', sa.text("coalesce(message_id, '')")], unique=True, schema='lanes')
    op.create_table_comment('attempt', 'One try at some work; a claim has one attempt for each response, and one at most without any', existing_comment='One try at some work', schema='lanes')
    op.drop_constraint('uq_item_position', 'item', schema='lanes', type_='unique')
    op.create_index('uq_item_position', 'item', ['position'], unique=True, schema='lanes', postgresql_where=sa.text('position is not null'))
    op.drop_index('ix_item_received', table_name='item', schema='lanes')
    op.create_index('ix_item_received', 'item', ['workload', sa.text('urgent desc'), 'due_at', 'id'], unique=False, schema='lanes', postgresql_where=sa.text('position is null and canceled_at is null'))
    _run_file('0005_functions.sql')


def downgrade() -> None:
    raise RuntimeError('attempts that were read twice are one now: which was which is not known')


def _run_file(name: str) -> None:
    sql = (Path(__file__).parents[1] / 'sql' / name).read_text()
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)
