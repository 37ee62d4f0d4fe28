"""Rollouts: a playbook under way, what happened to it, and what was measured."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table('rollout',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('playbook', sa.Text(), nullable=False, comment='Name of the playbook'),
    sa.Column('content', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='The playbook as it was when the rollout started'),
    sa.Column('workload', sa.Text(), nullable=False),
    sa.Column('consumer', sa.Text(), nullable=True, comment='Whose split it moves; null = the one for all'),
    sa.Column('state', sa.Text(), nullable=False, comment='running: `migrate` moves it; waiting_approval: a person resumes its run; finished, rolled_back, aborted: nobody'),
    sa.Column('step', sa.Integer(), nullable=False, comment='The step in force, from 0'),
    sa.Column('step_started_at', sa.DateTime(timezone=True), nullable=False, comment="Since when that step's share is in force"),
    sa.Column('routes_before', sa.BigInteger(), nullable=False, comment='Newest route when the step started'),
    sa.Column('share_before', sa.Integer(), nullable=False, comment='Basis points in force before the rollout; a failure sets them'),
    sa.Column('holds', sa.Text(), nullable=True, comment='Why the step holds, as last told'),
    sa.Column('asked', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='How often a person was asked'),
    sa.Column('approved_by', sa.Text(), nullable=True, comment='Who approved leaving the step in force'),
    sa.Column('approved_why', sa.Text(), nullable=True),
    sa.Column('started_by', sa.Text(), nullable=False),
    sa.Column('why', sa.Text(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('flow_run_id', sa.Uuid(), nullable=True, comment='The run of `migrate` that leads it, or led it last'),
    sa.CheckConstraint("share_before between 0 and 10000", name=op.f('ck_rollout_share_before_range')),
    sa.CheckConstraint("state in ('running', 'waiting_approval', 'finished', 'rolled_back', 'aborted')", name=op.f('ck_rollout_state_known')),
    sa.ForeignKeyConstraint(['workload'], ['lanes.workload.name'], name=op.f('fk_rollout_workload')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_rollout')),
    schema='lanes',
    comment='A playbook under way; this row is the truth, and at most one of a workload is open'
    )
    op.create_index('uq_rollout_open', 'rollout', ['workload'], unique=True, schema='lanes', postgresql_where=sa.text("state in ('running', 'waiting_approval')"))
    op.create_index('ix_rollout_flow_run_id', 'rollout', ['flow_run_id'], unique=False, schema='lanes')
    op.create_table('rollout_event',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('rollout_id', sa.BigInteger(), nullable=False),
    sa.Column('event', sa.Text(), nullable=False, comment='started, stepped, held, approval_asked, approved, declined, rolled_back, finished or aborted'),
    sa.Column('step', sa.Integer(), nullable=False, comment='The step in force afterwards, from 0'),
    sa.Column('basis_points', sa.Integer(), nullable=False, comment='The share to real-time afterwards'),
    sa.Column('who', sa.Text(), nullable=False),
    sa.Column('why', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['rollout_id'], ['lanes.rollout.id'], name=op.f('fk_rollout_event_rollout_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_rollout_event')),
    schema='lanes',
    comment='Append-only: what happened to a rollout, who wanted it and why'
    )
    op.create_index(op.f('ix_rollout_event_rollout_id_id'), 'rollout_event', ['rollout_id', 'id'], unique=False, schema='lanes')
    op.create_table('rollout_measurement',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('rollout_id', sa.BigInteger(), nullable=False),
    sa.Column('step', sa.Integer(), nullable=False, comment='From 0'),
    sa.Column('measure', sa.Text(), nullable=False),
    sa.Column('value', sa.Double(), nullable=True, comment='A share from 0 to 1, or seconds; null = no number'),
    sa.Column('samples', sa.Integer(), nullable=False),
    sa.Column('wrong', sa.Integer(), nullable=False, comment='Samples on the wrong side of the limit'),
    sa.Column('verdict', sa.Text(), nullable=False, comment='passed, failed, inconclusive or error'),
    sa.Column('explanation', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("verdict in ('passed', 'failed', 'inconclusive', 'error')", name=op.f('ck_rollout_measurement_verdict_known')),
    sa.ForeignKeyConstraint(['rollout_id'], ['lanes.rollout.id'], name=op.f('fk_rollout_measurement_rollout_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_rollout_measurement')),
    schema='lanes',
    comment='Append-only: what was measured when a verdict changed or the rollout moved'
    )
    op.create_index(op.f('ix_rollout_measurement_rollout_id_id'), 'rollout_measurement', ['rollout_id', 'id'], unique=False, schema='lanes')


def downgrade() -> None:
    op.execute('drop view if exists lanes.rollout_log')
    op.drop_table('rollout_measurement', schema='lanes')
    op.drop_table('rollout_event', schema='lanes')
    op.drop_table('rollout', schema='lanes')
