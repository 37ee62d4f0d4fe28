"""The main job, in one file because all of it came at once: items, routes, work, batches, results, ledger, views and functions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateSequence

revision = '0001'
down_revision = None


def upgrade() -> None:
    op.execute(CreateSequence(sa.Sequence('item_position', schema='lanes')))
    op.create_table('event_outbox',
    sa.Column('id', sa.Uuid(), server_default=sa.text('uuidv7()'), nullable=False, comment="The event's id in Prefect"),
    sa.Column('event', sa.Text(), nullable=False),
    sa.Column('resource', sa.Text(), nullable=False),
    sa.Column('payload', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('occurred_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_event_outbox')),
    schema='lanes',
    comment='Events out, written with the fact and deleted once Prefect took them'
    )
    op.create_table('rejected',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('workload', sa.Text(), nullable=True),
    sa.Column('source', sa.Text(), nullable=False, comment="The door: event, sql, client or a file's name"),
    sa.Column('place', sa.Text(), nullable=False, comment='Event id, line number or key'),
    sa.Column('reason', sa.Text(), nullable=False, comment='One word'),
    sa.Column('detail', sa.Text(), nullable=False, comment='What is wrong and what to do'),
    sa.Column('content', sa.Text(), nullable=False, comment='The input as it came, cut at 64 KiB'),
    sa.Column('rejected_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_rejected')),
    schema='lanes',
    comment='Inputs that no door admitted'
    )
    op.create_index(op.f('ix_rejected_source_place'), 'rejected', ['source', 'place'], unique=False, schema='lanes')
    op.create_table('watermark',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('seen_until', sa.DateTime(timezone=True), nullable=False, comment='Events that occurred before were read'),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_watermark')),
    schema='lanes',
    comment='How far the event stream was read'
    )
    op.create_table('workload',
    sa.Column('name', sa.Text(), nullable=False, comment='What events, files and SQL call it'),
    sa.Column('version_id', sa.BigInteger(), nullable=True, comment='The version in force'),
    sa.Column('paused_at', sa.DateTime(timezone=True), nullable=True, comment='Since when nothing of it is claimed'),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_workload')),
    schema='lanes',
    comment='One kind of AI work'
    )
    op.create_table('item',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('workload', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False, comment='Names the item within its workload'),
    sa.Column('payload', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='The newest revision of the input'),
    sa.Column('content_hash', sa.LargeBinary(), nullable=False, comment='SHA-256 of the first payload: same key, same content?'),
    sa.Column('revision', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='0, then one more per amendment'),
    sa.Column('consumer', sa.Text(), nullable=True, comment='Who reads the result'),
    sa.Column('entity', sa.Text(), nullable=True, comment='Whom the item is about; keeps the split sticky'),
    sa.Column('urgent', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('pin', sa.Text(), nullable=True, comment='The lane its sender asked for'),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('occurred_at', sa.DateTime(timezone=True), nullable=False, comment='Event time; default received_at'),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False, comment='When its admission was committed'),
    sa.Column('source', sa.Text(), nullable=False, comment="The door: event, sql, client or a file's name"),
    sa.Column('position', sa.BigInteger(), nullable=True, comment='Order of the stream, given by the router'),
    sa.Column('result_id', sa.BigInteger(), nullable=True, comment='Its current result'),
    sa.Column('answered_at', sa.DateTime(timezone=True), nullable=True, comment='When a first answer stood'),
    sa.Column('settled_at', sa.DateTime(timezone=True), nullable=True, comment='When an authoritative answer stood'),
    sa.Column('failed_at', sa.DateTime(timezone=True), nullable=True, comment='When its work was given up'),
    sa.Column('canceled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('failure', sa.Text(), nullable=True, comment='Why it failed, or why its authoritative pass did'),
    sa.CheckConstraint("pin in ('realtime', 'batch')", name=op.f('ck_item_pin_known')),
    sa.ForeignKeyConstraint(['workload'], ['lanes.workload.name'], name=op.f('fk_item_workload')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_item')),
    sa.UniqueConstraint('position', name=op.f('uq_item_position')),
    sa.UniqueConstraint('workload', 'key', name=op.f('uq_item_workload_key')),
    schema='lanes',
    comment='One input of a workload'
    )
    op.create_index('ix_item_entity', 'item', ['workload', 'entity', 'occurred_at'], unique=False, schema='lanes', postgresql_where=sa.text('entity is not null'))
    op.create_index('ix_item_received', 'item', ['id'], unique=False, schema='lanes', postgresql_where=sa.text('position is null'))
    op.create_table('split',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('workload', sa.Text(), nullable=False),
    sa.Column('consumer', sa.Text(), nullable=True, comment="Whose items; null = every consumer's"),
    sa.Column('basis_points', sa.Integer(), nullable=False, comment='Share of undecided items to real-time, 0 to 10000'),
    sa.Column('who', sa.Text(), nullable=False),
    sa.Column('why', sa.Text(), nullable=False),
    sa.Column('set_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint('basis_points between 0 and 10000', name=op.f('ck_split_basis_points_range')),
    sa.ForeignKeyConstraint(['workload'], ['lanes.workload.name'], name=op.f('fk_split_workload')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_split')),
    schema='lanes',
    comment='Append-only; the newest row of a (workload, consumer) is in force'
    )
    op.create_index(op.f('ix_split_workload_consumer_id'), 'split', ['workload', 'consumer', 'id'], unique=False, schema='lanes')
    op.create_table('version',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('workload', sa.Text(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False, comment='1, 2, 3 ... within the workload'),
    sa.Column('hash', sa.Text(), nullable=False, comment='SHA-256 of the canonical definition'),
    sa.Column('spec', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='Instructions, schema, models, rules, promises'),
    sa.Column('published_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['workload'], ['lanes.workload.name'], name=op.f('fk_version_workload')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_version')),
    sa.UniqueConstraint('workload', 'hash', name=op.f('uq_version_workload_hash')),
    sa.UniqueConstraint('workload', 'number', name=op.f('uq_version_workload_number')),
    schema='lanes',
    comment='An immutable snapshot of a workload; routes, work and results name theirs'
    )
    op.create_table('batch',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('nonce', sa.Text(), nullable=False, comment='First part of every custom_id: proves the batch is ours'),
    sa.Column('account', sa.Text(), nullable=False, comment='The provider account that pays'),
    sa.Column('workload', sa.Text(), nullable=False),
    sa.Column('version_id', sa.BigInteger(), nullable=False),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False, comment='intended, submitted, ended, collected, held or released'),
    sa.Column('requests', sa.Integer(), nullable=False),
    sa.Column('items', sa.Integer(), nullable=False),
    sa.Column('bytes', sa.BigInteger(), nullable=False, comment='Size of the request bodies, as JSON'),
    sa.Column('body_hash', sa.Text(), nullable=False, comment='SHA-256 of the request bodies'),
    sa.Column('provider_batch_id', sa.Text(), nullable=True),
    sa.Column('processed', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='Requests no longer processing'),
    sa.Column('succeeded', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='Items with a valid answer'),
    sa.Column('invalid', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='Items whose answer was unusable'),
    sa.Column('errored', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('canceled', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('expired', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('missing', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='Items without any result'),
    sa.Column('intended_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('submitted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('expected_end_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('collected_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('note', sa.Text(), nullable=True, comment='What a person should know of it'),
    sa.CheckConstraint("state in ('intended', 'submitted', 'ended', 'collected', 'held', 'released')", name=op.f('ck_batch_state_known')),
    sa.ForeignKeyConstraint(['version_id'], ['lanes.version.id'], name=op.f('fk_batch_version_id')),
    sa.ForeignKeyConstraint(['workload'], ['lanes.workload.name'], name=op.f('fk_batch_workload')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_batch')),
    sa.UniqueConstraint('nonce', name=op.f('uq_batch_nonce')),
    sa.UniqueConstraint('provider_batch_id', name=op.f('uq_batch_provider_batch_id')),
    schema='lanes',
    comment='One Message Batch: its intent is committed before the paid call'
    )
    op.create_index('ix_batch_open', 'batch', ['state'], unique=False, schema='lanes', postgresql_where=sa.text("state <> 'collected'"))
    op.create_index('uq_batch_unresolved', 'batch', ['account'], unique=True, schema='lanes', postgresql_where=sa.text("state = 'intended'"))
    op.create_index('uq_batch_unresolved_requests', 'batch', ['account', 'requests'], unique=True, schema='lanes', postgresql_where=sa.text("state in ('intended', 'held')"))
    op.create_table('label',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('item_id', sa.BigInteger(), nullable=False),
    sa.Column('expected', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='Output fields and what was right'),
    sa.Column('source', sa.Text(), nullable=False, comment='Who says so'),
    sa.Column('labeled_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['item_id'], ['lanes.item.id'], name=op.f('fk_label_item_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_label')),
    sa.UniqueConstraint('item_id', 'source', name=op.f('uq_label_item_id_source')),
    schema='lanes',
    comment='What somebody says was right, for accuracy'
    )
    op.create_table('route',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('item_id', sa.BigInteger(), nullable=False),
    sa.Column('version_id', sa.BigInteger(), nullable=False),
    sa.Column('lane', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False, comment='Which rule decided'),
    sa.Column('explanation', sa.Text(), nullable=False, comment='The decision as a sentence'),
    sa.Column('realtime_usd', sa.Numeric(precision=20, scale=10), nullable=False, comment='What real-time would cost, estimated'),
    sa.Column('batch_usd', sa.Numeric(precision=20, scale=10), nullable=False, comment='What batch would cost, estimated'),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("lane in ('realtime', 'batch')", name=op.f('ck_route_lane_known')),
    sa.ForeignKeyConstraint(['item_id'], ['lanes.item.id'], name=op.f('fk_route_item_id')),
    sa.ForeignKeyConstraint(['version_id'], ['lanes.version.id'], name=op.f('fk_route_version_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_route')),
    schema='lanes',
    comment='Append-only decisions; the newest of an item is in force'
    )
    op.create_index(op.f('ix_route_item_id_id'), 'route', ['item_id', 'id'], unique=False, schema='lanes')
    op.create_table('response',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('message_id', sa.Text(), nullable=False, comment="The provider's name for it: billed once, booked once"),
    sa.Column('workload', sa.Text(), nullable=False),
    sa.Column('lane', sa.Text(), nullable=False),
    sa.Column('purpose', sa.Text(), nullable=False),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('batch_id', sa.BigInteger(), nullable=True),
    sa.Column('items', sa.Integer(), nullable=False, comment='How many items shared the call'),
    sa.Column('input_tokens', sa.Integer(), nullable=False),
    sa.Column('output_tokens', sa.Integer(), nullable=False),
    sa.Column('cache_read_tokens', sa.Integer(), nullable=False),
    sa.Column('cache_write_tokens', sa.Integer(), nullable=False),
    sa.Column('cost_usd', sa.Numeric(precision=20, scale=10), nullable=False),
    sa.Column('price_version', sa.Text(), nullable=False),
    sa.Column('billed_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['batch_id'], ['lanes.batch.id'], name=op.f('fk_response_batch_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_response')),
    sa.UniqueConstraint('message_id', name=op.f('uq_response_message_id')),
    schema='lanes',
    comment='The ledger: every billed response that reached us, once'
    )
    op.create_index(op.f('ix_response_workload_billed_at'), 'response', ['workload', 'billed_at'], unique=False, schema='lanes')
    op.create_table('work',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('item_id', sa.BigInteger(), nullable=False),
    sa.Column('workload', sa.Text(), nullable=False),
    sa.Column('version_id', sa.BigInteger(), nullable=False),
    sa.Column('lane', sa.Text(), nullable=False),
    sa.Column('purpose', sa.Text(), nullable=False, comment='answer, authoritative, shadow or replay'),
    sa.Column('revision', sa.Integer(), nullable=False, comment='Which revision of the item it processes'),
    sa.Column('generation', sa.Integer(), server_default=sa.text('0'), nullable=False, comment="0 = live, else a replay's number"),
    sa.Column('state', sa.Text(), nullable=False, comment='ready: drain or submit claims it; claimed: until lease_until; submitted: collect moves it; done, failed, canceled: nobody'),
    sa.Column('ready_at', sa.DateTime(timezone=True), nullable=False, comment='Not before'),
    sa.Column('rank_at', sa.DateTime(timezone=True), nullable=False, comment='Order of service, computed once at routing'),
    sa.Column('claimed_by', sa.Text(), nullable=True),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('claim_no', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='Rises with every claim; fences writes'),
    sa.Column('failures', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='Spent of the retry budget'),
    sa.Column('batch_id', sa.BigInteger(), nullable=True, comment='The batch that owns it'),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("lane in ('realtime', 'batch')", name=op.f('ck_work_lane_known')),
    sa.CheckConstraint("purpose in ('answer', 'authoritative', 'shadow', 'replay')", name=op.f('ck_work_purpose_known')),
    sa.CheckConstraint("state in ('ready', 'claimed', 'submitted', 'done', 'failed', 'canceled')", name=op.f('ck_work_state_known')),
    sa.ForeignKeyConstraint(['batch_id'], ['lanes.batch.id'], name=op.f('fk_work_batch_id')),
    sa.ForeignKeyConstraint(['item_id'], ['lanes.item.id'], name=op.f('fk_work_item_id')),
    sa.ForeignKeyConstraint(['version_id'], ['lanes.version.id'], name=op.f('fk_work_version_id')),
    sa.ForeignKeyConstraint(['workload'], ['lanes.workload.name'], name=op.f('fk_work_workload')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_work')),
    schema='lanes',
    comment='One obligation to process an item on a lane'
    )
    op.create_index('ix_work_claimable', 'work', ['lane', 'workload', 'rank_at', 'id'], unique=False, schema='lanes', postgresql_where=sa.text("state in ('ready', 'claimed')"))
    op.create_index(op.f('ix_work_item_id'), 'work', ['item_id'], unique=False, schema='lanes')
    op.create_index('ix_work_submitted', 'work', ['batch_id'], unique=False, schema='lanes', postgresql_where=sa.text("state = 'submitted'"))
    op.create_index('uq_work_open', 'work', ['item_id', 'lane', 'purpose', 'generation'], unique=True, schema='lanes', postgresql_where=sa.text("state in ('ready', 'claimed', 'submitted')"))
    op.create_table('attempt',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('work_id', sa.BigInteger(), nullable=False),
    sa.Column('item_id', sa.BigInteger(), nullable=False),
    sa.Column('claim_no', sa.Integer(), nullable=False),
    sa.Column('workload', sa.Text(), nullable=False),
    sa.Column('lane', sa.Text(), nullable=False),
    sa.Column('purpose', sa.Text(), nullable=False),
    sa.Column('outcome', sa.Text(), nullable=False),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('request_id', sa.Text(), nullable=True),
    sa.Column('message_id', sa.Text(), nullable=True),
    sa.Column('batch_id', sa.BigInteger(), nullable=True),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('input_tokens', sa.Integer(), nullable=False),
    sa.Column('output_tokens', sa.Integer(), nullable=False),
    sa.Column('cache_read_tokens', sa.Integer(), nullable=False),
    sa.Column('cache_write_tokens', sa.Integer(), nullable=False),
    sa.Column('cost_usd', sa.Numeric(precision=20, scale=10), nullable=False, comment="Its part of the response's cost"),
    sa.Column('bound_usd', sa.Numeric(precision=20, scale=10), nullable=False, comment='Unknown attempts: the most it can have cost, not in spend'),
    sa.Column('shown', sa.Boolean(), nullable=False, comment='Whether its answer became a result'),
    sa.Column('latency_ms', sa.Integer(), nullable=False, comment='The provider call; batch: submitted to ended'),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['batch_id'], ['lanes.batch.id'], name=op.f('fk_attempt_batch_id')),
    sa.ForeignKeyConstraint(['item_id'], ['lanes.item.id'], name=op.f('fk_attempt_item_id')),
    sa.ForeignKeyConstraint(['work_id'], ['lanes.work.id'], name=op.f('fk_attempt_work_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_attempt')),
    schema='lanes',
    comment='One try at some work'
    )
    op.create_index(op.f('ix_attempt_item_id'), 'attempt', ['item_id'], unique=False, schema='lanes')
    op.create_index(op.f('ix_attempt_workload_lane_ended_at'), 'attempt', ['workload', 'lane', 'ended_at'], unique=False, schema='lanes')
    op.create_table('result',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('item_id', sa.BigInteger(), nullable=False),
    sa.Column('work_id', sa.BigInteger(), nullable=False),
    sa.Column('version_id', sa.BigInteger(), nullable=False),
    sa.Column('lane', sa.Text(), nullable=False),
    sa.Column('standing', sa.Text(), nullable=False),
    sa.Column('generation', sa.Integer(), nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('output', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('message_id', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("standing in ('provisional', 'authoritative')", name=op.f('ck_result_standing_known')),
    sa.ForeignKeyConstraint(['item_id'], ['lanes.item.id'], name=op.f('fk_result_item_id')),
    sa.ForeignKeyConstraint(['version_id'], ['lanes.version.id'], name=op.f('fk_result_version_id')),
    sa.ForeignKeyConstraint(['work_id'], ['lanes.work.id'], name=op.f('fk_result_work_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_result')),
    sa.UniqueConstraint('item_id', 'generation', 'revision', 'standing', name=op.f('uq_result_item_id_generation_revision_standing')),
    schema='lanes',
    comment='Answers that stood; the first valid one of a standing wins'
    )
    op.create_table('correction',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('item_id', sa.BigInteger(), nullable=False),
    sa.Column('generation', sa.Integer(), nullable=False),
    sa.Column('provisional_id', sa.BigInteger(), nullable=False),
    sa.Column('authoritative_id', sa.BigInteger(), nullable=False),
    sa.Column('changed_fields', postgresql.ARRAY(sa.Text()), nullable=False),
    sa.Column('distance', sa.Double(), nullable=False, comment='Share of the compared fields that changed, 0 to 1'),
    sa.Column('corrected_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['authoritative_id'], ['lanes.result.id'], name=op.f('fk_correction_authoritative_id')),
    sa.ForeignKeyConstraint(['item_id'], ['lanes.item.id'], name=op.f('fk_correction_item_id')),
    sa.ForeignKeyConstraint(['provisional_id'], ['lanes.result.id'], name=op.f('fk_correction_provisional_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_correction')),
    sa.UniqueConstraint('item_id', 'authoritative_id', name=op.f('uq_correction_item_id_authoritative_id')),
    schema='lanes',
    comment='An authoritative result replaced a different provisional one'
    )
    op.create_table('batch_member',
    sa.Column('batch_id', sa.BigInteger(), nullable=False),
    sa.Column('request_no', sa.Integer(), nullable=False, comment='Last part of the custom_id, from 0'),
    sa.Column('slot', sa.Integer(), nullable=False, comment='Place within the pack, from 0'),
    sa.Column('work_id', sa.BigInteger(), nullable=False),
    sa.Column('claim_no', sa.Integer(), nullable=False, comment='The claim under which the batch owns it'),
    sa.ForeignKeyConstraint(['batch_id'], ['lanes.batch.id'], name=op.f('fk_batch_member_batch_id')),
    sa.ForeignKeyConstraint(['work_id'], ['lanes.work.id'], name=op.f('fk_batch_member_work_id')),
    sa.PrimaryKeyConstraint('batch_id', 'request_no', 'slot', name=op.f('pk_batch_member')),
    schema='lanes',
    comment='Which work each request of a batch carries; kept so that late results find their items'
    )
    op.create_table('read',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('item_id', sa.BigInteger(), nullable=False),
    sa.Column('reader', sa.Text(), nullable=False, comment='Who asked'),
    sa.Column('result_id', sa.BigInteger(), nullable=True, comment='Null: there was none yet'),
    sa.Column('read_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['item_id'], ['lanes.item.id'], name=op.f('fk_read_item_id')),
    sa.ForeignKeyConstraint(['result_id'], ['lanes.result.id'], name=op.f('fk_read_result_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_read')),
    schema='lanes',
    comment='The consumption ledger: a reader took a result'
    )
    op.create_index(op.f('ix_read_item_id'), 'read', ['item_id'], unique=False, schema='lanes')
    op.create_index(op.f('ix_read_reader_read_at'), 'read', ['reader', 'read_at'], unique=False, schema='lanes')


def downgrade() -> None:
    raise RuntimeError('this is the first migration; to start over, drop schema "lanes" and upgrade again')
