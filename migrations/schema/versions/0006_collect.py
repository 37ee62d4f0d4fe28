"""Results that end early are counted before they are believed; what spoiled a pack is asked alone."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column('batch', sa.Column('short_reads', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='How often in a row its results ended without the same requests'), schema='lanes')
    op.add_column('batch', sa.Column('short_read_lacking', sa.Text(), nullable=True, comment='SHA-256 of the numbers of those requests'), schema='lanes')
    op.add_column('batch', sa.Column('short_read_at', sa.DateTime(timezone=True), nullable=True, comment='When that was last counted'), schema='lanes')
    op.add_column('work', sa.Column('alone', sa.Boolean(), server_default=sa.text('false'), nullable=False, comment='It may have spoiled its pack: it is asked alone'), schema='lanes')


def downgrade() -> None:
    for name in ('short_reads', 'short_read_lacking', 'short_read_at'):
        op.drop_column('batch', name, schema='lanes')
    op.drop_column('work', 'alone', schema='lanes')
