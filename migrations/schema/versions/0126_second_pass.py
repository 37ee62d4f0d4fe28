"""Leave out second passes of answers that are surely good enough."""

import sqlalchemy as sa
from alembic import op

revision = "0126"
down_revision = "0125"
sql_in_force = "994f3d9c3a0d"  # migrations/schema/current/ after this revision

SECOND_PASS = """
create table lanes.second_pass (
  version_id bigint not null, sampled text[] not null, share double precision not null,
  classes jsonb not null, updated_at timestamptz not null,
  constraint pk_second_pass primary key (version_id),
  constraint fk_second_pass_version_id_version foreign key (version_id) references lanes.version (id),
  constraint ck_second_pass_finite check (isfinite(updated_at)))
"""


def upgrade() -> None:
    op.add_column("item", sa.Column("settled_reason", sa.Text()), schema="lanes")
    op.create_check_constraint(
        op.f("ck_item_settled_reason_known"), "item", "settled_reason = 'not_sampled'", schema="lanes"
    )
    op.execute(SECOND_PASS)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
