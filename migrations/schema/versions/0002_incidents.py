"""Promises: incidents, the Slack outbox, and the view over them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table('incident',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('uid', sa.Uuid(), server_default=sa.text('uuidv7()'), nullable=False, comment="Its name in Slack's metadata"),
    sa.Column('promise', sa.Text(), nullable=False, comment='Which promise is broken'),
    sa.Column('workload', sa.Text(), nullable=False, comment='Whose; it may have no published version'),
    sa.Column('subject', sa.Text(), server_default=sa.text("''"), nullable=False, comment='Such as batch 41; empty = all of it'),
    sa.Column('severity', sa.Text(), nullable=False, comment='warning or critical; the worst so far'),
    sa.Column('state', sa.Text(), nullable=False, comment='open: watch resolves it when it is over; resolved: nobody'),
    sa.Column('value', sa.Double(), nullable=False, comment="The newest measurement, in the promise's unit"),
    sa.Column('limit_value', sa.Double(), nullable=False, comment='What was promised, in the same unit'),
    sa.Column('unit', sa.Text(), nullable=False, comment='minutes, percent, seconds, items or fields'),
    sa.Column('sentence', sa.Text(), nullable=False, comment='What is wrong, for a person; after the end: how it ended'),
    sa.Column('opened_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False, comment='When value, severity, state or sentence last changed'),
    sa.Column('resolved_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("severity in ('warning', 'critical')", name=op.f('ck_incident_severity_known')),
    sa.CheckConstraint("state in ('open', 'resolved')", name=op.f('ck_incident_state_known')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_incident')),
    sa.UniqueConstraint('uid', name=op.f('uq_incident_uid')),
    schema='lanes',
    comment='A breach of a promise; at most one is open per promise, workload and subject'
    )
    op.create_index('uq_incident_open', 'incident', ['promise', 'workload', 'subject'], unique=True, schema='lanes', postgresql_where=sa.text("state = 'open'"))
    op.create_index(op.f('ix_incident_opened_at'), 'incident', ['opened_at'], unique=False, schema='lanes')
    op.create_table('slack_post',
    sa.Column('incident_id', sa.BigInteger(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=True, comment="Where its message stands, as Slack's id"),
    sa.Column('ts', sa.Text(), nullable=True, comment="Slack's name for the message; null with a webhook"),
    sa.Column('posted_state', sa.Text(), nullable=True, comment='What its message says: open or resolved; null = none'),
    sa.Column('posted_severity', sa.Text(), nullable=True),
    sa.Column('posted_value', sa.Double(), nullable=True),
    sa.Column('posted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('unsure', sa.Boolean(), server_default=sa.text('false'), nullable=False, comment='A post began, its end is unknown: look first'),
    sa.Column('attempts', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='Tries since the last that went well'),
    sa.Column('next_try_at', sa.DateTime(timezone=True), nullable=False, comment='Not before'),
    sa.Column('last_error', sa.Text(), nullable=True, comment='Why the last try failed, and what to do'),
    sa.ForeignKeyConstraint(['incident_id'], ['lanes.incident.id'], name=op.f('fk_slack_post_incident_id')),
    sa.PrimaryKeyConstraint('incident_id', name=op.f('pk_slack_post')),
    schema='lanes',
    comment='The Slack outbox: one row an incident, kept until its end was told'
    )
    op.create_index('ix_slack_post_due', 'slack_post', ['next_try_at'], unique=False, schema='lanes', postgresql_where=sa.text("posted_state is distinct from 'resolved'"))


def downgrade() -> None:
    op.execute('drop view if exists lanes.incident_log')
    op.drop_table('slack_post', schema='lanes')
    op.drop_table('incident', schema='lanes')
