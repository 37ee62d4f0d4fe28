"""A consumer's split can say that the workload's counts again; a rollout knows when a person approved its step."""

from alembic import op

revision = "0058"
down_revision = "0057"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force: dict[str, str] = {}


def upgrade() -> None:
    op.execute("""
        alter table lanes.split
          alter basis_points drop not null,
          add constraint ck_split_only_a_consumer_inherits check (consumer is not null or basis_points is not null);
        comment on column lanes.split.basis_points is
          'Share of undecided items to real-time, 0 to 10000; null: the consumer inherits the workload''s';

        alter table lanes.rollout
          add inherited_before boolean not null default false,
          add approved_at timestamptz;
        comment on column lanes.rollout.share_before is
          'Basis points in force before the rollout; a failure sets them, unless they were inherited';
        comment on column lanes.rollout.inherited_before is
          'Whether the consumer had no split of its own before: a failure makes it inherit the workload''s again';
        comment on column lanes.rollout.approved_at is
          'When that was: the longest time of the step counts from here; null = from step_started_at';

        -- Those under way: what they were given by hand counts from now on.
        update lanes.rollout set approved_at = now() where approved_by is not null and ended_at is null;
        update lanes.rollout r set inherited_before = true
         where r.ended_at is null and r.consumer is not null
           and not exists (select from lanes.split s
                            where s.workload = r.workload and s.consumer = r.consumer and s.set_at < r.started_at);
    """)


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code reads no split that is inherited")
