"""Whose turn it is to publish the events out."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table('publisher',
    sa.Column('name', sa.Text(), nullable=False, comment='What is published: events'),
    sa.Column('holder', sa.Text(), nullable=True, comment='Who publishes it, or did last; null: nobody yet'),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True, comment='Until when nobody else does; null or past: the next who asks'),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_publisher')),
    schema='lanes',
    comment='Whose turn it is to publish what waits in an outbox: no lock is held while it is told to others'
    )
    op.execute("insert into lanes.publisher (name) values ('events')")


def downgrade() -> None:
    op.drop_table('publisher', schema='lanes')
