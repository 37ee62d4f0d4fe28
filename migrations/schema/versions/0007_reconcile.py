"""What is known of a create without an answer, strangers' batches, batches without their work, and named accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

STATE = "intended: submit or collect moves it; submitted, ended: collect; held: a person; superseded: collect, without its work; collected, released: nobody"
STATES = "state in ('intended', 'submitted', 'ended', 'collected', 'held', 'superseded', 'released')"
UNSURE = "state in ('intended', 'held') or (state in ('submitted', 'ended') and adopted_at is not null and proved_at is null)"
MOMENTS = {
    'create_ended_at': 'When its create ended without an answer',
    'searched_at': "When the provider's list was last searched for it",
    'adopted_at': "When it was taken for a batch of the provider's list",
    'proved_at': "When its nonce, or its create's answer, proved that right",
    'unknown_since': 'Since when the provider says that it has no such batch',
    'cancel_at': 'From when on collect cancels it at the provider',
}


def upgrade() -> None:
    op.add_column('workload', sa.Column('submit_at', sa.DateTime(timezone=True), nullable=True, comment='Some of its work could not be submitted: collect asks for a run of submit from then on'), schema='lanes')
    for name, comment in MOMENTS.items():
        op.add_column('batch', sa.Column(name, sa.DateTime(timezone=True), nullable=True, comment=comment), schema='lanes')
    op.alter_column('batch', 'state', existing_type=sa.Text(), existing_nullable=False, comment=STATE, schema='lanes')
    op.alter_column('batch', 'account', existing_type=sa.Text(), existing_nullable=False, comment='Name of the provider account that pays; key:... = not named yet', schema='lanes')
    op.drop_constraint('ck_batch_state_known', 'batch', schema='lanes')
    op.create_check_constraint('ck_batch_state_known', 'batch', STATES, schema='lanes')
    op.drop_index('uq_batch_unresolved_requests', table_name='batch', schema='lanes')
    op.create_index('uq_batch_unresolved_requests', 'batch', ['account', 'requests'], unique=True, schema='lanes', postgresql_where=sa.text(UNSURE))
    op.execute("update lanes.batch set account = 'key:' || account")  # until now an account was a hash of its key
    op.create_table('disowned',
    sa.Column('account', sa.Text(), nullable=False),
    sa.Column('provider_batch_id', sa.Text(), nullable=False),
    sa.Column('batch_id', sa.BigInteger(), nullable=False, comment='Which batch of ours was taken for it'),
    sa.Column('disowned_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['batch_id'], ['lanes.batch.id'], name=op.f('fk_disowned_batch_id')),
    sa.PrimaryKeyConstraint('account', 'provider_batch_id', name=op.f('pk_disowned')),
    schema='lanes',
    comment="Batches at the provider that are somebody else's: none of ours is taken for them again"
    )


def downgrade() -> None:
    raise RuntimeError('accounts that were named cannot be led back to their keys')
