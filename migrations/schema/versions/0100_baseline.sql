-- Every table and index of schema `lanes` as revision 0100 has them. Comments come from lanes/store/tables/,
-- functions, views and triggers from migrations/schema/current/. Never edited: later changes are revisions.

create sequence lanes.item_position;

create table lanes.workload (
  name text constraint pk_workload primary key,
  version_id bigint,
  paused_at timestamptz,
  created_at timestamptz not null,
  submit_at timestamptz,
  refused_version_id bigint,
  refused_lane text constraint ck_workload_refused_lane_known check (refused_lane in ('realtime', 'batch')),
  refused_at timestamptz,
  constraint ck_workload_finite check (isfinite(paused_at) and isfinite(submit_at) and isfinite(refused_at) and isfinite(created_at))
);

create table lanes.version (
  id bigint generated always as identity constraint pk_version primary key,
  workload text not null constraint fk_version_workload references lanes.workload(name),
  number integer not null,
  hash text not null,
  spec jsonb not null,
  published_at timestamptz not null,
  mode text not null constraint ck_version_mode_known check (mode in ('plain', 'lambda')),
  realtime_model text not null,
  batch_model text not null,
  max_failures integer not null,
  give_up_after_h integer not null,
  batch_expected_minutes integer not null,
  compare_fields text[] not null,
  realtime_p95_s double precision not null,
  dedupe text not null constraint ck_version_dedupe_known check (dedupe in ('key', 'content')),
  max_payload_kib integer not null,
  announces text not null,
  confidence double precision not null,
  input_schema jsonb,
  constraint uq_version_workload_hash unique (workload, hash),
  constraint uq_version_workload_number unique (workload, number),
  constraint ck_version_finite check (isfinite(published_at)),
  constraint ck_version_announces_known check (announces in ('each', 'realtime', 'summary'))
);

create table lanes.item (
  id bigint generated always as identity constraint pk_item primary key,
  workload text not null constraint fk_item_workload references lanes.workload(name) not enforced,
  key text not null,
  payload jsonb not null,
  content_hash bytea not null,
  revision integer default 0 not null,
  consumer text,
  entity text,
  urgent boolean default false not null,
  pin text constraint ck_item_pin_known check (pin in ('realtime', 'batch')),
  due_at timestamptz,
  occurred_at timestamptz not null,
  received_at timestamptz not null,
  source text not null,
  position bigint,
  result_id bigint,
  answered_at timestamptz,
  settled_at timestamptz,
  failed_at timestamptz,
  canceled_at timestamptz,
  failure text,
  as_of timestamptz,
  forgotten_at timestamptz,
  ack boolean default false not null,
  emptied_at timestamptz,
  constraint uq_item_workload_key unique (workload, key),
  constraint ck_item_finite check (isfinite(as_of) and isfinite(due_at) and isfinite(occurred_at) and isfinite(received_at) and isfinite(answered_at) and isfinite(settled_at) and isfinite(failed_at) and isfinite(canceled_at) and isfinite(forgotten_at) and isfinite(emptied_at))
) with (fillfactor=50);
create index ix_item_entity on lanes.item (workload, entity, occurred_at) where entity is not null;
create index ix_item_failed on lanes.item (workload, failed_at) where failed_at is not null;
create index ix_item_failure on lanes.item (id) where failure is not null;
create index ix_item_received on lanes.item (workload, urgent desc, due_at, id)
  where position is null and canceled_at is null;
create unique index uq_item_position on lanes.item (position) where position is not null;

create table lanes.revision (
  item_id bigint not null constraint fk_revision_item_id references lanes.item(id),
  number integer not null,
  payload jsonb not null,
  source text not null,
  place text,
  received_at timestamptz not null,
  occurred_at timestamptz,
  outdated boolean default false not null,
  constraint pk_revision primary key (item_id, number),
  constraint ck_revision_finite check (isfinite(received_at) and isfinite(occurred_at))
);
create unique index uq_revision_event on lanes.revision (place) where source = 'event';

create table lanes.amendment (
  id bigint generated always as identity constraint pk_amendment primary key,
  workload text not null constraint fk_amendment_workload references lanes.workload(name),
  key text not null,
  payload jsonb,
  source text not null,
  place text,
  received_at timestamptz not null,
  outcome text,
  decided_at timestamptz,
  occurred_at timestamptz,
  constraint uq_amendment_source_place unique (source, place),
  constraint ck_amendment_finite check (isfinite(received_at) and isfinite(occurred_at) and isfinite(decided_at)),
  constraint ck_amendment_outcome_known check (outcome in ('amended', 'duplicate', 'outdated', 'canceled'))
);
create index ix_amendment_waiting on lanes.amendment (workload, key) where outcome is null;

create table lanes.rejected (
  id bigint generated always as identity constraint pk_rejected primary key,
  workload text,
  source text not null,
  place text not null,
  reason text not null,
  detail text not null,
  content text not null,
  rejected_at timestamptz not null,
  key text,
  times integer default 1 not null,
  constraint ck_rejected_finite check (isfinite(rejected_at))
);
create index ix_rejected_key on lanes.rejected (key);
create index ix_rejected_source_place on lanes.rejected (source, place);
create index ix_rejected_source_rejected_at on lanes.rejected (source, rejected_at);

create table lanes.label (
  id bigint generated always as identity constraint pk_label primary key,
  item_id bigint not null constraint fk_label_item_id references lanes.item(id),
  expected jsonb not null,
  source text not null,
  labeled_at timestamptz not null,
  constraint uq_label_item_id_source unique (item_id, source),
  constraint ck_label_finite check (isfinite(labeled_at))
);

create table lanes.split (
  id bigint generated always as identity constraint pk_split primary key,
  workload text not null constraint fk_split_workload references lanes.workload(name),
  consumer text,
  basis_points integer,
  who text not null,
  why text not null,
  set_at timestamptz not null,
  constraint ck_split_finite check (isfinite(set_at)),
  constraint ck_split_only_a_consumer_inherits check (consumer is not null or basis_points is not null),
  constraint ck_split_basis_points_range check (basis_points between 0 and 10000)
);
create index ix_split_workload_consumer_id on lanes.split (workload, consumer, id);

create table lanes.route (
  id bigint generated always as identity constraint pk_route primary key,
  item_id bigint not null constraint fk_route_item_id references lanes.item(id) not enforced,
  version_id bigint not null constraint fk_route_version_id references lanes.version(id) not enforced,
  lane text not null constraint ck_route_lane_known check (lane in ('realtime', 'batch')),
  reason text not null,
  explanation text not null,
  realtime_usd numeric(20, 10) not null,
  batch_usd numeric(20, 10) not null,
  decided_at timestamptz not null,
  probability double precision,
  binds text generated always as (
    case when reason not in ('value', 'split', 'budget', 'capacity', 'fallback', 'shed') then lane else null end) virtual,
  constraint ck_route_finite check (isfinite(decided_at)),
  constraint ck_route_reason_known check (reason in ('pinned', 'overdue', 'urgent', 'urgent_rule', 'deadline', 'batch_rule', 'value', 'split', 'budget', 'capacity', 'fallback', 'rescue', 'shed'))
);
create index ix_route_fallback on lanes.route (decided_at) where reason = 'fallback';
create index ix_route_item_id_id on lanes.route (item_id, id);
create index ix_route_rescue on lanes.route (decided_at) where reason = 'rescue';
create index ix_route_shed on lanes.route (decided_at) where reason = 'shed';
create index ix_route_split on lanes.route (lane, id) where reason = 'split';
create index ix_route_stated on lanes.route (decided_at) where probability is not null and lane = 'batch';

create table lanes.batch (
  id bigint generated always as identity constraint pk_batch primary key,
  nonce text not null constraint uq_batch_nonce unique,
  account text not null,
  workload text not null constraint fk_batch_workload references lanes.workload(name),
  version_id bigint not null constraint fk_batch_version_id references lanes.version(id),
  model text not null,
  state text not null,
  requests integer not null,
  items integer not null,
  bytes bigint not null,
  body_hash text not null,
  provider_batch_id text constraint uq_batch_provider_batch_id unique,
  processed integer default 0 not null,
  succeeded integer default 0 not null,
  invalid integer default 0 not null,
  errored integer default 0 not null,
  canceled integer default 0 not null,
  expired integer default 0 not null,
  missing integer default 0 not null,
  intended_at timestamptz not null,
  submitted_at timestamptz,
  expected_end_at timestamptz,
  ended_at timestamptz,
  collected_at timestamptz,
  note text,
  short_reads integer default 0 not null,
  short_read_lacking text,
  short_read_at timestamptz,
  create_ended_at timestamptz,
  searched_at timestamptz,
  adopted_at timestamptz,
  proved_at timestamptz,
  unknown_since timestamptz,
  cancel_at timestamptz,
  pack_ids text default 'counted' not null,
  flow_run_id uuid,
  marked_requests integer default 0 not null,
  stated_back_at timestamptz,
  constraint ck_batch_finite check (isfinite(short_read_at) and isfinite(intended_at) and isfinite(create_ended_at) and isfinite(searched_at) and isfinite(adopted_at) and isfinite(proved_at) and isfinite(unknown_since) and isfinite(cancel_at) and isfinite(submitted_at) and isfinite(expected_end_at) and isfinite(stated_back_at) and isfinite(ended_at) and isfinite(collected_at)),
  constraint ck_batch_state_known check (state in ('intended', 'submitted', 'ended', 'collected', 'held', 'superseded', 'released')),
  constraint ck_batch_pack_ids_known check (pack_ids in ('counted', 'derived'))
);
create index ix_batch_open on lanes.batch (state) where state <> 'collected';
create index ix_batch_submitted_at on lanes.batch (submitted_at);
create unique index uq_batch_unresolved on lanes.batch (account) where state = 'intended';
create unique index uq_batch_unresolved_requests on lanes.batch (account, requests)
  where state in ('intended', 'held') or (state in ('submitted', 'ended') and adopted_at is not null and proved_at is null);

create table lanes.disowned (
  account text not null,
  provider_batch_id text not null,
  batch_id bigint not null constraint fk_disowned_batch_id references lanes.batch(id),
  disowned_at timestamptz not null,
  constraint pk_disowned primary key (account, provider_batch_id),
  constraint ck_disowned_finite check (isfinite(disowned_at))
);

create table lanes.work (
  id bigint generated always as identity constraint pk_work primary key,
  item_id bigint not null constraint fk_work_item_id references lanes.item(id) not enforced,
  workload text not null constraint fk_work_workload references lanes.workload(name) not enforced,
  version_id bigint not null constraint fk_work_version_id references lanes.version(id) not enforced,
  lane text not null constraint ck_work_lane_known check (lane in ('realtime', 'batch')),
  purpose text not null,
  revision integer not null,
  generation integer default 0 not null,
  state text not null,
  ready_at timestamptz not null,
  rank_at timestamptz not null,
  claimed_by text,
  lease_until timestamptz,
  claim_no integer default 0 not null,
  failures integer default 0 not null,
  batch_id bigint constraint fk_work_batch_id references lanes.batch(id),
  created_at timestamptz not null,
  finished_at timestamptz,
  alone boolean default false not null,
  due_at timestamptz,
  binds text constraint ck_work_binds_known check (binds in ('realtime', 'batch')),
  rescued boolean default false not null,
  urgent boolean default false not null,
  bound_usd numeric(20, 10),
  constraint ck_work_finite check (isfinite(ready_at) and isfinite(rank_at) and isfinite(due_at) and isfinite(lease_until) and isfinite(created_at) and isfinite(finished_at)),
  constraint ck_work_purpose_known check (purpose in ('answer', 'authoritative', 'shadow', 'replay')),
  constraint ck_work_state_known check (state in ('ready', 'claimed', 'submitted', 'done', 'failed', 'canceled'))
);
create index ix_work_bound on lanes.work (workload) where bound_usd is not null;
create index ix_work_claimable on lanes.work (lane, workload, rank_at, id) where state = 'ready';
create index ix_work_claimed on lanes.work (id) where state = 'claimed';
create index ix_work_due_of_workload on lanes.work (workload, binds, due_at, id)
  where due_at is not null and lane = 'batch' and purpose = 'answer' and state in ('ready', 'submitted') and not rescued;
create index ix_work_item_id on lanes.work (item_id);
create index ix_work_replay on lanes.work (workload, generation, state) where generation > 0;
create index ix_work_submitted on lanes.work (batch_id) where state = 'submitted';
create index ix_work_unrescued on lanes.work (due_at, id) where rescued and lane = 'realtime' and state = 'failed';
create index ix_work_urgent on lanes.work (lane, workload, rank_at, id) where state = 'ready' and urgent;
create unique index uq_work_open on lanes.work (item_id, lane, purpose, generation, revision)
  where state in ('ready', 'claimed', 'submitted');

create table lanes.batch_member (
  batch_id bigint not null constraint fk_batch_member_batch_id references lanes.batch(id),
  request_no integer not null,
  slot integer not null,
  work_id bigint not null constraint fk_batch_member_work_id references lanes.work(id),
  claim_no integer not null,
  constraint pk_batch_member primary key (batch_id, request_no, slot)
);

create table lanes.response (
  id bigint generated always as identity constraint pk_response primary key,
  message_id text not null constraint uq_response_message_id unique,
  workload text not null,
  lane text not null constraint ck_response_lane_known check (lane in ('realtime', 'batch')),
  purpose text not null,
  model text not null,
  batch_id bigint constraint fk_response_batch_id references lanes.batch(id),
  items integer not null,
  input_tokens integer not null,
  output_tokens integer not null,
  cache_read_tokens integer not null,
  cache_write_tokens integer not null,
  cost_usd numeric(20, 10) not null,
  price_version text not null,
  billed_at timestamptz not null,
  digest text,
  constraint ck_response_finite check (isfinite(billed_at)),
  constraint ck_response_purpose_known check (purpose in ('answer', 'authoritative', 'shadow', 'replay'))
);
create index ix_response_billed_at on lanes.response using brin (billed_at);

create table lanes.attempt (
  id bigint generated always as identity constraint pk_attempt primary key,
  work_id bigint not null constraint fk_attempt_work_id references lanes.work(id) not enforced,
  item_id bigint not null constraint fk_attempt_item_id references lanes.item(id) not enforced,
  claim_no integer not null,
  workload text not null,
  lane text not null constraint ck_attempt_lane_known check (lane in ('realtime', 'batch')),
  purpose text not null,
  outcome text not null,
  error text,
  request_id text,
  message_id text,
  batch_id bigint constraint fk_attempt_batch_id references lanes.batch(id),
  model text not null,
  input_tokens integer not null,
  output_tokens integer not null,
  cache_read_tokens integer not null,
  cache_write_tokens integer not null,
  cost_usd numeric(20, 10) not null,
  bound_usd numeric(20, 10) not null,
  shown boolean not null,
  latency_ms integer not null,
  started_at timestamptz not null,
  ended_at timestamptz not null,
  flow_run_id uuid,
  gathered_ms integer,
  left_because text,
  version_id bigint not null constraint fk_attempt_version_id references lanes.version(id) not enforced,
  constraint ck_attempt_finite check (isfinite(started_at) and isfinite(ended_at)),
  constraint ck_attempt_purpose_known check (purpose in ('answer', 'authoritative', 'shadow', 'replay')),
  constraint ck_attempt_outcome_known check (outcome in ('valid', 'invalid', 'refused', 'truncated', 'errored', 'poison', 'pack_refused', 'unserved', 'canceled', 'expired', 'missing', 'unknown', 'given_up')),
  constraint ck_attempt_left_because_known check (left_because in ('full', 'pressed', 'over', 'hopeless'))
);
create index ix_attempt_item_id on lanes.attempt (item_id);
create index ix_attempt_workload_lane_ended_at on lanes.attempt (workload, lane, ended_at);
create unique index uq_attempt_once on lanes.attempt (work_id, claim_no, coalesce(message_id, ''));

create table lanes.result (
  id bigint generated always as identity constraint pk_result primary key,
  item_id bigint not null constraint fk_result_item_id references lanes.item(id) not enforced,
  work_id bigint not null constraint fk_result_work_id references lanes.work(id) not enforced,
  version_id bigint not null constraint fk_result_version_id references lanes.version(id) not enforced,
  lane text not null constraint ck_result_lane_known check (lane in ('realtime', 'batch')),
  standing text not null,
  generation integer not null,
  revision integer not null,
  output jsonb,
  message_id text,
  created_at timestamptz not null,
  constraint uq_result_item_id_generation_revision_standing unique (item_id, generation, revision, standing),
  constraint ck_result_finite check (isfinite(created_at)),
  constraint ck_result_standing_known check (standing in ('provisional', 'authoritative'))
);
create index ix_result_overlay on lanes.result (generation, item_id) where generation > 0;

create table lanes.correction (
  id bigint generated always as identity constraint pk_correction primary key,
  item_id bigint not null constraint fk_correction_item_id references lanes.item(id),
  generation integer not null,
  provisional_id bigint not null constraint fk_correction_provisional_id references lanes.result(id),
  authoritative_id bigint not null constraint fk_correction_authoritative_id references lanes.result(id),
  changed_fields text[] not null,
  distance double precision not null,
  corrected_at timestamptz not null,
  constraint uq_correction_item_id_authoritative_id unique (item_id, authoritative_id),
  constraint ck_correction_finite check (isfinite(corrected_at))
);

create table lanes.read (
  id bigint generated always as identity constraint pk_read primary key,
  item_id bigint not null constraint fk_read_item_id references lanes.item(id),
  reader text not null,
  result_id bigint constraint fk_read_result_id references lanes.result(id),
  read_at timestamptz not null,
  constraint ck_read_finite check (isfinite(read_at))
);
create index ix_read_item_id on lanes.read (item_id);
create index ix_read_reader_read_at on lanes.read (reader, read_at);

create table lanes.generation (
  id bigint generated always as identity constraint pk_generation primary key,
  workload text not null constraint fk_generation_workload references lanes.workload(name),
  number integer not null constraint ck_generation_number_positive check (number > 0),
  version_id bigint not null constraint fk_generation_version_id references lanes.version(id),
  state text not null,
  from_position bigint not null,
  to_position bigint not null,
  cursor_position bigint not null,
  items integer default 0 not null,
  who text not null,
  why text not null,
  created_at timestamptz not null,
  completed_at timestamptz,
  promoted_at timestamptz,
  demoted_at timestamptz,
  dropped_at timestamptz,
  constraint uq_generation_workload_number unique (workload, number),
  constraint ck_generation_finite check (isfinite(created_at) and isfinite(completed_at) and isfinite(promoted_at) and isfinite(demoted_at) and isfinite(dropped_at)),
  constraint ck_generation_state_known check (state in ('running', 'complete', 'promoted', 'demoted', 'dropped'))
);
create unique index uq_generation_open on lanes.generation (workload) where state in ('running', 'complete');

create table lanes.promoted (
  generation_id bigint not null constraint fk_promoted_generation_id references lanes.generation(id),
  item_id bigint not null constraint fk_promoted_item_id references lanes.item(id),
  before_id bigint not null constraint fk_promoted_before_id references lanes.result(id),
  after_id bigint not null constraint fk_promoted_after_id references lanes.result(id),
  constraint pk_promoted primary key (generation_id, item_id)
);
create index ix_promoted_item_id on lanes.promoted (item_id);

create table lanes.pack_check (
  id bigint generated always as identity constraint pk_pack_check primary key,
  item_id bigint not null constraint fk_pack_check_item_id references lanes.item(id),
  work_id bigint not null constraint fk_pack_check_work_id references lanes.work(id),
  version_id bigint not null constraint fk_pack_check_version_id references lanes.version(id),
  lane text not null constraint ck_pack_check_lane_known check (lane in ('realtime', 'batch')),
  pack integer not null,
  twice boolean not null,
  asked_at timestamptz not null,
  alone jsonb,
  agrees boolean,
  compared_at timestamptz,
  repeats boolean,
  repeated_at timestamptz,
  constraint ck_pack_check_finite check (isfinite(asked_at) and isfinite(compared_at) and isfinite(repeated_at))
);
create index ix_pack_check_compared on lanes.pack_check (version_id, lane, compared_at) where compared_at is not null;
create index ix_pack_check_item on lanes.pack_check (item_id);
create index ix_pack_check_repeated on lanes.pack_check (version_id, lane, repeated_at) where repeated_at is not null;
create unique index uq_pack_check_work on lanes.pack_check (work_id);

create table lanes.pack_size (
  id bigint generated always as identity constraint pk_pack_size primary key,
  workload text not null,
  version_id bigint not null constraint fk_pack_size_version_id references lanes.version(id),
  lane text not null constraint ck_pack_size_lane_known check (lane in ('realtime', 'batch')),
  model text not null,
  size integer not null,
  allowed integer not null,
  hurt integer,
  packed_n integer not null,
  packed_agreed integer not null,
  alone_n integer not null,
  alone_agreed integer not null,
  why text not null,
  decided_at timestamptz not null,
  constraint ck_pack_size_finite check (isfinite(decided_at))
);
create index ix_pack_size_workload_lane_model_id on lanes.pack_size (workload, lane, model, id);

create table lanes.caching (
  version_id bigint not null constraint fk_caching_version_id references lanes.version(id),
  lane text not null constraint ck_caching_lane_known check (lane in ('realtime', 'batch')),
  marks text not null constraint ck_caching_marks_known check (marks in ('none', 'some', 'all')),
  why text not null,
  pays_from double precision not null,
  since timestamptz not null,
  decided_at timestamptz not null,
  hit_rate double precision,
  calls integer default 0 not null,
  losses integer default 0 not null,
  again_at timestamptz,
  constraint pk_caching primary key (version_id, lane),
  constraint ck_caching_finite check (isfinite(since) and isfinite(decided_at) and isfinite(again_at))
);

create unlogged table lanes.capacity (
  account text not null,
  model text not null,
  kind text not null,
  limit_ bigint not null,
  remaining bigint not null,
  reset_at timestamptz not null,
  seen_at timestamptz not null,
  constraint pk_capacity primary key (account, model, kind),
  constraint ck_capacity_finite check (isfinite(reset_at) and isfinite(seen_at)),
  constraint ck_capacity_kind_known check (kind in ('requests', 'input_tokens', 'output_tokens', 'tokens'))
) with (fillfactor=50);

create table lanes.budget (
  id bigint generated always as identity constraint pk_budget primary key,
  workload text not null constraint fk_budget_workload references lanes.workload(name),
  consumer text,
  period text not null constraint ck_budget_period_known check (period in ('day', 'month')),
  zone text not null,
  soft_usd numeric(20, 10),
  hard_usd numeric(20, 10),
  refused_at timestamptz,
  who text not null,
  why text not null,
  set_at timestamptz not null,
  refused_usd numeric(20, 10),
  constraint ck_budget_finite check (isfinite(refused_at) and isfinite(set_at)),
  constraint ck_budget_limits_given check (num_nonnulls(soft_usd, hard_usd) > 0),
  constraint ck_budget_limits_in_order check (soft_usd >= 0 and hard_usd >= 0 and soft_usd <= hard_usd)
);
create unique index uq_budget on lanes.budget (workload, consumer, period) nulls not distinct;

create table lanes.budget_spent (
  budget_id bigint not null constraint fk_budget_spent_budget_id references lanes.budget(id) on delete cascade,
  began_at timestamptz not null,
  usd numeric(20, 10) not null,
  bound_usd numeric(20, 10) not null,
  constraint pk_budget_spent primary key (budget_id, began_at),
  constraint ck_budget_spent_finite check (isfinite(began_at))
);

create table lanes.budget_use (
  id bigint generated always as identity constraint pk_budget_use primary key,
  budget_id bigint not null,
  began_at timestamptz not null,
  usd numeric(20, 10) default 0 not null,
  bound_usd numeric(20, 10) default 0 not null,
  constraint ck_budget_use_finite check (isfinite(began_at))
);
create index ix_budget_use_budget_id on lanes.budget_use (budget_id);

create table lanes.budget_hold (
  budget_id bigint not null constraint fk_budget_hold_budget_id references lanes.budget(id) on delete cascade,
  batch_id bigint not null constraint fk_budget_hold_batch_id references lanes.batch(id),
  usd numeric(20, 10) not null,
  constraint pk_budget_hold primary key (budget_id, batch_id)
);

create table lanes.overhead (
  id bigint generated always as identity constraint pk_overhead primary key,
  workload text constraint fk_overhead_workload references lanes.workload(name),
  lane text not null constraint ck_overhead_lane_known check (lane in ('realtime', 'batch')),
  kind text not null constraint ck_overhead_kind_known check (kind in ('infrastructure', 'engineering')),
  monthly_usd numeric(20, 10) not null constraint ck_overhead_not_negative check (monthly_usd >= 0),
  from_date date not null,
  who text not null,
  why text not null,
  set_at timestamptz not null,
  constraint ck_overhead_finite check (isfinite(set_at))
);
create index ix_overhead_workload_from_date on lanes.overhead (workload, from_date);

create table lanes.figure (
  grain text not null constraint ck_figure_grain_known check (grain in ('minute', 'hour', 'day')),
  at timestamptz not null,
  workload text not null,
  version_id bigint,
  lane text constraint ck_figure_lane_known check (lane in ('realtime', 'batch')),
  purpose text,
  consumer text,
  kind text not null,
  word text,
  n bigint not null,
  items bigint default 0 not null,
  usd numeric(20, 10) default 0 not null,
  bound_usd numeric(20, 10) default 0 not null,
  realtime_usd numeric(20, 10) default 0 not null,
  batch_usd numeric(20, 10) default 0 not null,
  input bigint default 0 not null,
  output bigint default 0 not null,
  cached bigint default 0 not null,
  written bigint default 0 not null,
  first_at timestamptz,
  last_at timestamptz,
  constraint ck_figure_finite check (isfinite(at) and isfinite(first_at) and isfinite(last_at)),
  constraint ck_figure_purpose_known check (purpose in ('answer', 'authoritative', 'shadow', 'replay')),
  constraint ck_figure_kind_known check (kind in ('route', 'attempt', 'call', 'result', 'agreement', 'correction', 'buffer', 'deadline', 'gathered', 'batch', 'request', 'carried', 'item', 'asked', 'due', 'urgent', 'first', 'read', 'answer', 'try', 'compared'))
) partition by list (grain);
create table lanes.figure_day partition of lanes.figure for values in ('day') with (fillfactor=70);
comment on table lanes.figure_day is 'Days of lanes.figure';
create table lanes.figure_hour partition of lanes.figure for values in ('hour') with (fillfactor=70);
comment on table lanes.figure_hour is 'Hours of lanes.figure';
create table lanes.figure_minute partition of lanes.figure for values in ('minute');
comment on table lanes.figure_minute is 'Minutes of lanes.figure';
create index ix_figure_peak on lanes.figure (workload, at) include (n)
  where grain = 'minute' and kind = 'item' and word <> 'canceled';
create unique index uq_figure on lanes.figure (grain, kind, workload, at, lane, word, purpose, consumer, version_id) nulls not distinct;

create table lanes.figure_spread (
  grain text not null constraint ck_figure_spread_grain_known check (grain in ('minute', 'hour', 'day')),
  at timestamptz not null,
  workload text not null,
  version_id bigint,
  lane text constraint ck_figure_spread_lane_known check (lane in ('realtime', 'batch')),
  purpose text,
  consumer text,
  kind text not null,
  word text,
  buckets integer[] not null,
  counts bigint[] not null,
  constraint ck_figure_spread_finite check (isfinite(at)),
  constraint ck_figure_spread_purpose_known check (purpose in ('answer', 'authoritative', 'shadow', 'replay')),
  constraint ck_figure_spread_kind_known check (kind in ('route', 'attempt', 'call', 'result', 'agreement', 'correction', 'buffer', 'deadline', 'gathered', 'batch', 'request', 'carried', 'item', 'asked', 'due', 'urgent', 'first', 'read', 'answer', 'try', 'compared'))
) partition by list (grain);
create table lanes.figure_spread_day partition of lanes.figure_spread for values in ('day') with (fillfactor=70);
comment on table lanes.figure_spread_day is 'Days of lanes.figure_spread';
create table lanes.figure_spread_hour partition of lanes.figure_spread for values in ('hour') with (fillfactor=70);
comment on table lanes.figure_spread_hour is 'Hours of lanes.figure_spread';
create table lanes.figure_spread_minute partition of lanes.figure_spread for values in ('minute');
comment on table lanes.figure_spread_minute is 'Minutes of lanes.figure_spread';
create unique index uq_figure_spread on lanes.figure_spread (grain, kind, workload, at, lane, word, purpose, consumer, version_id) nulls not distinct;

create table lanes.figure_delta (
  id bigint generated always as identity constraint pk_figure_delta primary key,
  at timestamptz not null,
  workload text not null,
  version_id bigint,
  lane text constraint ck_figure_delta_lane_known check (lane in ('realtime', 'batch')),
  purpose text,
  consumer text,
  kind text not null,
  word text,
  n bigint not null,
  items bigint default 0 not null,
  usd numeric(20, 10) default 0 not null,
  bound_usd numeric(20, 10) default 0 not null,
  realtime_usd numeric(20, 10) default 0 not null,
  batch_usd numeric(20, 10) default 0 not null,
  input bigint default 0 not null,
  output bigint default 0 not null,
  cached bigint default 0 not null,
  written bigint default 0 not null,
  first_at timestamptz,
  last_at timestamptz,
  buckets integer[],
  counts bigint[],
  set_aside boolean default false not null,
  constraint ck_figure_delta_finite check (isfinite(at) and isfinite(first_at) and isfinite(last_at)),
  constraint ck_figure_delta_purpose_known check (purpose in ('answer', 'authoritative', 'shadow', 'replay')),
  constraint ck_figure_delta_kind_known check (kind in ('route', 'attempt', 'call', 'result', 'agreement', 'correction', 'buffer', 'deadline', 'gathered', 'batch', 'request', 'carried', 'item', 'asked', 'due', 'urgent', 'first', 'read', 'answer', 'try', 'compared'))
);

create table lanes.figure_consumer (
  workload text not null,
  consumer text not null,
  constraint pk_figure_consumer primary key (workload, consumer)
);

create table lanes.figure_peak (
  workload text not null,
  at timestamptz not null,
  n bigint not null,
  constraint pk_figure_peak primary key (workload, at),
  constraint ck_figure_peak_finite check (isfinite(at))
);

create table lanes.incident (
  id bigint generated always as identity constraint pk_incident primary key,
  uid uuid default uuidv7() not null constraint uq_incident_uid unique,
  promise text not null,
  workload text not null,
  subject text default '' not null,
  severity text not null constraint ck_incident_severity_known check (severity in ('warning', 'critical')),
  state text not null constraint ck_incident_state_known check (state in ('open', 'resolved')),
  value double precision not null,
  limit_value double precision not null,
  unit text not null,
  sentence text not null,
  opened_at timestamptz not null,
  updated_at timestamptz not null,
  resolved_at timestamptz,
  samples bigint default 0 not null,
  why text,
  opened_value double precision,
  flow_run_id uuid,
  block_id uuid,
  briefing jsonb,
  parent_id bigint constraint fk_incident_parent_id references lanes.incident(id),
  constraint ck_incident_finite check (isfinite(opened_at) and isfinite(updated_at) and isfinite(resolved_at)),
  constraint ck_incident_promise_known check (promise in ('batch_slow', 'batch_failing', 'batch_invalid', 'batch_unclear', 'batch_incomplete', 'batch_never_started', 'realtime_slow', 'realtime_failing', 'authoritative_failed', 'workload_invalid', 'items_failed', 'provider_down', 'approval_waits', 'provider_frozen', 'budget', 'deadline_missed', 'deadline_at_risk', 'role_taken'))
);
create index ix_incident_opened_at on lanes.incident (opened_at);
create unique index uq_incident_open on lanes.incident (promise, workload, subject) where state = 'open';

create table lanes.outage (
  id bigint generated always as identity constraint pk_outage primary key,
  account text not null,
  model text not null,
  began_at timestamptz not null,
  faulted_at timestamptz not null,
  faults integer not null,
  why text not null,
  over_at timestamptz,
  state text not null constraint ck_outage_state_known check (state in ('closed', 'resting', 'probing')),
  rests integer not null,
  turn integer not null,
  next_probe_at timestamptz,
  constraint ck_outage_finite check (isfinite(began_at) and isfinite(faulted_at) and isfinite(next_probe_at) and isfinite(over_at)),
  constraint ck_outage_probed_while_open check ((state = 'closed') = (next_probe_at is null))
);
create index ix_outage_over on lanes.outage (model, over_at);
create unique index uq_outage_open on lanes.outage (account, model) where over_at is null;

create table lanes.slack_post (
  incident_id bigint constraint pk_slack_post primary key,
  channel text,
  ts text,
  posted_state text constraint ck_slack_post_posted_state_known check (posted_state in ('open', 'resolved')),
  posted_severity text,
  posted_at timestamptz,
  unsure boolean default false not null,
  attempts integer default 0 not null,
  next_try_at timestamptz not null,
  last_error text,
  reminded_at timestamptz,
  constraint ck_slack_post_finite check (isfinite(posted_at) and isfinite(next_try_at) and isfinite(reminded_at)),
  constraint fk_slack_post_incident_id foreign key (incident_id) references lanes.incident(id),
  constraint ck_slack_post_posted_severity_known check (posted_severity in ('warning', 'critical'))
);
create index ix_slack_post_due on lanes.slack_post (next_try_at) where posted_state is distinct from 'resolved';

create table lanes.rollout (
  id bigint generated always as identity constraint pk_rollout primary key,
  playbook text not null,
  content jsonb not null,
  workload text not null constraint fk_rollout_workload references lanes.workload(name),
  consumer text,
  state text not null,
  step integer not null,
  step_started_at timestamptz not null,
  routes_before bigint not null,
  share_before integer not null,
  holds text,
  asked integer default 0 not null,
  approved_by text,
  approved_why text,
  started_by text not null,
  why text not null,
  started_at timestamptz not null,
  ended_at timestamptz,
  flow_run_id uuid,
  entered boolean default true not null,
  asked_at timestamptz,
  inherited_before boolean default false not null,
  approved_at timestamptz,
  constraint ck_rollout_finite check (isfinite(step_started_at) and isfinite(approved_at) and isfinite(started_at) and isfinite(ended_at) and isfinite(asked_at)),
  constraint ck_rollout_state_known check (state in ('running', 'waiting_approval', 'finished', 'rolled_back', 'aborted')),
  constraint ck_rollout_share_before_range check (share_before between 0 and 10000),
  constraint ck_rollout_holds_known check (holds in ('gathering', 'inconclusive', 'error', 'incident', 'approval', 'ended'))
);
create index ix_rollout_flow_run_id on lanes.rollout (flow_run_id);
create unique index uq_rollout_open on lanes.rollout (workload) where state in ('running', 'waiting_approval');

create table lanes.rollout_event (
  id bigint generated always as identity constraint pk_rollout_event primary key,
  rollout_id bigint not null constraint fk_rollout_event_rollout_id references lanes.rollout(id),
  event text not null,
  step integer not null,
  basis_points integer not null,
  who text not null,
  why text not null,
  at timestamptz not null,
  constraint ck_rollout_event_finite check (isfinite(at)),
  constraint ck_rollout_event_event_known check (event in ('started', 'stepped', 'held', 'approval_asked', 'approved', 'declined', 'rolled_back', 'finished', 'aborted'))
);
create index ix_rollout_event_rollout_id_id on lanes.rollout_event (rollout_id, id);

create table lanes.rollout_measurement (
  id bigint generated always as identity constraint pk_rollout_measurement primary key,
  rollout_id bigint not null constraint fk_rollout_measurement_rollout_id references lanes.rollout(id),
  step integer not null,
  measure text not null,
  value double precision,
  samples integer not null,
  wrong integer not null,
  verdict text not null,
  explanation text not null,
  at timestamptz not null,
  constraint ck_rollout_measurement_finite check (isfinite(at)),
  constraint ck_rollout_measurement_measure_known check (measure in ('error_rate', 'p95_s', 'deadlines_met', 'agreement')),
  constraint ck_rollout_measurement_verdict_known check (verdict in ('passed', 'failed', 'inconclusive', 'error'))
);
create index ix_rollout_measurement_rollout_id_id on lanes.rollout_measurement (rollout_id, id);

create table lanes.event_outbox (
  id uuid default uuidv7() constraint pk_event_outbox primary key,
  event text not null,
  resource text not null,
  payload jsonb not null,
  occurred_at timestamptz not null,
  precedence smallint generated always as (
    case when not starts_with(event, 'lanes.item.') then 0
         when event = 'lanes.item.answered' and not (payload ? 'ack') then 2
         else 1 end) stored not null,
  constraint ck_event_outbox_finite check (isfinite(occurred_at))
);
create index ix_event_outbox_first on lanes.event_outbox (precedence, id) where precedence < 2;

create table lanes.publisher (
  name text constraint pk_publisher primary key,
  holder text,
  lease_until timestamptz,
  paced_until timestamptz,
  constraint ck_publisher_finite check (isfinite(lease_until) and isfinite(paced_until))
);
insert into lanes.publisher (name) values ('events');

create table lanes.watermark (
  name text constraint pk_watermark primary key,
  seen_until timestamptz not null,
  constraint ck_watermark_finite check (isfinite(seen_until))
);

create table lanes.stored_span (
  start_at timestamptz constraint pk_stored_span primary key,
  events integer not null,
  constraint ck_stored_span_finite check (isfinite(start_at))
);
