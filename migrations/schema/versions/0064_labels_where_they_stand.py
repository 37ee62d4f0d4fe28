"""Accuracy is read from labels and answers where they stand, and folding goes around a row that cannot be folded."""

from alembic import op

revision = "0064"
down_revision = "0063"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force: dict[str, str | None] = {
    "doors/label": "bd61dcdc8cde",
    "figures/accuracy": "953f437f64e8",
    "figures/count_labels": None,
    "figures/count_outputs": None,
    "figures/count_results": "5097f012080c",
    "figures/keep_labels": None,
    "figures/label_count_added": None,
    "figures/label_count_gone": None,
    "figures/label_count_moved": None,
    "figures/labeled_answers": "40c4818d9368",
    "figures/result_count_moved": None,
    "figures/wilson": "23292b5f620c",
}

KINDS = (
    "route", "attempt", "call", "result", "agreement", "correction", "buffer", "deadline", "gathered", "batch",
    "request", "carried", "item", "asked", "due", "urgent", "first", "read", "answer", "try", "compared",
)


def upgrade() -> None:
    for trigger in ("count_added on lanes.label", "count_gone on lanes.label", "count_moved on lanes.label",
                    "count_moved on lanes.result"):
        op.execute(f"drop trigger if exists {trigger}")
    op.execute("drop function if exists lanes.count_labels()")
    op.execute("drop function if exists lanes.count_outputs()")
    op.execute("drop function if exists lanes.keep_labels(lanes.label[], lanes.result[], int)")
    allowed = ", ".join(f"'{each}'" for each in KINDS)
    for table in ("figure_delta", "figure", "figure_spread"):
        op.execute(f"delete from lanes.{table} where kind = 'label'")
        op.execute(f"alter table lanes.{table} drop constraint ck_{table}_kind_known")
        op.execute(f"alter table lanes.{table} add constraint ck_{table}_kind_known check (kind in ({allowed}))")
    op.execute("alter table lanes.figure_delta add column set_aside boolean not null default false")
    op.execute(
        "comment on column lanes.figure_delta.set_aside is 'Whether it cannot be folded: readers count it where it stands'"
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup, or count the labels anew: older code reads them as figures")
