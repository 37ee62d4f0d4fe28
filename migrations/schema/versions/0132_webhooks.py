"""Let webhooks be told of events."""

from alembic import op

revision = "0132"
down_revision = "0131"
sql_in_force = "08ff0136092c"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.execute("""
create table lanes.webhook (
  id bigint generated always as identity,
  name text not null,
  host text not null,
  types text[] not null,
  workload text,
  allows_private boolean not null,
  sends_outputs boolean not null,
  secrets_no integer default 1 not null,
  position bigint not null,
  failures integer default 0 not null,
  rests integer default 0 not null,
  rest_until timestamptz,
  last_error text,
  delivered_at timestamptz,
  holder text,
  lease_until timestamptz,
  created_at timestamptz not null,
  constraint pk_webhook primary key (id),
  constraint uq_webhook_name unique (name),
  constraint ck_webhook_finite check (isfinite(rest_until) and isfinite(delivered_at) and isfinite(lease_until) and isfinite(created_at))
);
create table lanes.webhook_event (
  id uuid not null,
  position bigint,
  event text not null,
  resource text not null,
  payload jsonb not null,
  occurred_at timestamptz not null,
  constraint pk_webhook_event primary key (id),
  constraint uq_webhook_event_position unique (position),
  constraint ck_webhook_event_finite check (isfinite(occurred_at))
);
create index ix_webhook_event_new on lanes.webhook_event (id) where position is null;
create table lanes.webhook_try (
  position bigint not null,
  webhook_id bigint not null,
  subject text not null,
  attempts integer not null,
  next_try_at timestamptz,
  last_error text,
  constraint pk_webhook_try primary key (position, webhook_id),
  constraint fk_webhook_try_position foreign key(position) references lanes.webhook_event (position) on delete cascade,
  constraint fk_webhook_try_webhook_id foreign key(webhook_id) references lanes.webhook (id) on delete cascade,
  constraint ck_webhook_try_finite check (isfinite(next_try_at))
);
create index ix_webhook_try_webhook_id_subject on lanes.webhook_try (webhook_id, subject);
""")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
