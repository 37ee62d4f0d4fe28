"""Late data and replays: revisions, amendments, generations, what a promotion replaced, and the views over them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

OPEN = "state in ('ready', 'claimed', 'submitted')"


def upgrade() -> None:
    op.drop_index('uq_work_open', table_name='work', schema='lanes')
    op.create_index('uq_work_open', 'work', ['item_id', 'lane', 'purpose', 'generation', 'revision'], unique=True, schema='lanes', postgresql_where=sa.text(OPEN))
    op.create_index('ix_work_replay', 'work', ['workload', 'generation', 'state'], unique=False, schema='lanes', postgresql_where=sa.text('generation > 0'))
    op.create_index('ix_result_overlay', 'result', ['generation', 'item_id'], unique=False, schema='lanes', postgresql_where=sa.text('generation > 0'))
    op.create_table('revision',
    sa.Column('item_id', sa.BigInteger(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False, comment='0 = as admitted, then one more per amendment'),
    sa.Column('payload', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('source', sa.Text(), nullable=False, comment="The door: event, sql, client or a file's name"),
    sa.Column('place', sa.Text(), nullable=True, comment='Event id, or what else names the amendment within its door'),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['item_id'], ['lanes.item.id'], name=op.f('fk_revision_item_id')),
    sa.PrimaryKeyConstraint('item_id', 'number', name=op.f('pk_revision')),
    schema='lanes',
    comment='Every payload of an amended item; its first is written at the first amendment'
    )
    op.create_index('uq_revision_event', 'revision', ['place'], unique=True, schema='lanes', postgresql_where=sa.text("source = 'event'"))
    op.create_table('amendment',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('workload', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('payload', postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment='Kept while it waits; afterwards it is a revision'),
    sa.Column('source', sa.Text(), nullable=False, comment='The door: event, sql or client'),
    sa.Column('place', sa.Text(), nullable=True, comment='Event id: an event is taken once'),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('outcome', sa.Text(), nullable=True, comment='amended, duplicate or canceled; null: waits for its item, the router applies it'),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("outcome in ('amended', 'duplicate', 'canceled')", name=op.f('ck_amendment_outcome_known')),
    sa.ForeignKeyConstraint(['workload'], ['lanes.workload.name'], name=op.f('fk_amendment_workload')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_amendment')),
    sa.UniqueConstraint('source', 'place', name=op.f('uq_amendment_source_place')),
    schema='lanes',
    comment='Every amendment that a door took, and what became of it'
    )
    op.create_index('ix_amendment_waiting', 'amendment', ['workload', 'key'], unique=False, schema='lanes', postgresql_where=sa.text('outcome is null'))
    op.create_table('generation',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('workload', sa.Text(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False, comment='1, 2, 3 ... within the workload; 0 is the live generation'),
    sa.Column('version_id', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False, comment='running: reading, or its work is open; complete: promote or drop decides; promoted: demote; demoted: promote or drop; dropped: nobody'),
    sa.Column('from_position', sa.BigInteger(), nullable=False, comment='First position of the stream that it reads'),
    sa.Column('to_position', sa.BigInteger(), nullable=False, comment='Last position that it reads'),
    sa.Column('cursor_position', sa.BigInteger(), nullable=False, comment='Everything up to here has its work'),
    sa.Column('items', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='How many items got work'),
    sa.Column('who', sa.Text(), nullable=False),
    sa.Column('why', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('completed_at', sa.DateTime(timezone=True), nullable=True, comment='When the last of its work ended'),
    sa.Column('promoted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('demoted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('dropped_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('number > 0', name=op.f('ck_generation_number_positive')),
    sa.CheckConstraint("state in ('running', 'complete', 'promoted', 'demoted', 'dropped')", name=op.f('ck_generation_state_known')),
    sa.ForeignKeyConstraint(['version_id'], ['lanes.version.id'], name=op.f('fk_generation_version_id')),
    sa.ForeignKeyConstraint(['workload'], ['lanes.workload.name'], name=op.f('fk_generation_workload')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_generation')),
    sa.UniqueConstraint('workload', 'number', name=op.f('uq_generation_workload_number')),
    schema='lanes',
    comment="A numbered re-reading of a workload's stream by one version; its results lie over the live ones"
    )
    op.create_index('uq_generation_open', 'generation', ['workload'], unique=True, schema='lanes', postgresql_where=sa.text("state in ('running', 'complete')"))
    op.create_table('promoted',
    sa.Column('generation_id', sa.BigInteger(), nullable=False),
    sa.Column('item_id', sa.BigInteger(), nullable=False),
    sa.Column('before_id', sa.BigInteger(), nullable=False, comment='Current before: demote restores it'),
    sa.Column('after_id', sa.BigInteger(), nullable=False, comment="The replay's, current instead"),
    sa.ForeignKeyConstraint(['after_id'], ['lanes.result.id'], name=op.f('fk_promoted_after_id')),
    sa.ForeignKeyConstraint(['before_id'], ['lanes.result.id'], name=op.f('fk_promoted_before_id')),
    sa.ForeignKeyConstraint(['generation_id'], ['lanes.generation.id'], name=op.f('fk_promoted_generation_id')),
    sa.ForeignKeyConstraint(['item_id'], ['lanes.item.id'], name=op.f('fk_promoted_item_id')),
    sa.PrimaryKeyConstraint('generation_id', 'item_id', name=op.f('pk_promoted')),
    schema='lanes',
    comment='What a promotion replaced; kept until it is taken back'
    )
    op.create_index(op.f('ix_promoted_item_id'), 'promoted', ['item_id'], unique=False, schema='lanes')


def downgrade() -> None:
    raise RuntimeError('revisions and generations cannot be taken back: results name them')
