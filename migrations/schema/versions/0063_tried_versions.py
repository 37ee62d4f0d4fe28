"""An attempt names the version that was tried: a retry gives its work another one."""

from alembic import op

revision = "0063"
down_revision = "0062"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {"figures/count_attempts": "6d0a5bd7b331", "settling/attempt_log": "e4441629c127"}

FILL = """
update lanes.attempt a
   set version_id = coalesce(
         (select b.version_id from lanes.batch b where b.id = a.batch_id),
         (select r.version_id from lanes.result r
           where a.shown and r.item_id = a.item_id and r.work_id = a.work_id and r.message_id is not distinct from a.message_id
           order by r.id limit 1),
         (select w.version_id from lanes.work w where w.id = a.work_id))
"""


def upgrade() -> None:
    op.execute("drop view if exists lanes.attempt_log")
    op.execute("alter table lanes.attempt add column version_id bigint")
    op.execute(FILL)
    op.execute("alter table lanes.attempt alter column version_id set not null")
    op.execute(
        "comment on column lanes.attempt.version_id is 'The version that was tried: a retry may give its work another'"
    )
    op.execute(
        "alter table lanes.attempt add constraint fk_attempt_version_id"
        " foreign key (version_id) references lanes.version not enforced"
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup, or go on with the column: older code does not know which version was tried")
