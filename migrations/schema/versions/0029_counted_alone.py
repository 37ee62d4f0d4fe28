"""Each table of facts is counted by a function of its own, by version where a fact has one; batches, how long real time let items
wait, and how right answers were by their labels are counted too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0026"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "figures/accuracy": "bc7307dcd6bb",
    "figures/attempt_count_added": "21ef28882173",
    "figures/attempt_figures": None,
    "figures/batch_count_added": "2dff75742f90",
    "figures/batch_count_moved": "ef4a20ac13b6",
    "figures/batch_figures": "2f5677a84499",
    "figures/correction_count_added": "f24459ff4109",
    "figures/correction_figures": None,
    "figures/count_added": None,
    "figures/count_attempts": "f416511a0fde",
    "figures/count_batches": "ca447ebfd382",
    "figures/count_corrections": "8d6ba143d775",
    "figures/count_items": "1a0ea2f28d52",
    "figures/count_labels": "28d67693f6de",
    "figures/count_moved": None,
    "figures/count_outputs": "5fe79b9fff72",
    "figures/count_reads": "eca805cfacd1",
    "figures/count_responses": "1906fa7cba5f",
    "figures/count_results": "30f72919499d",
    "figures/count_routes": "d9dd02347650",
    "figures/figure_row": None,
    "figures/figure_stands": "a48654c32f22",
    "figures/item_count_moved": "0c18eebcb174",
    "figures/item_figures": None,
    "figures/item_state": None,
    "figures/keep_figures": None,
    "figures/keep_labels": "396bed49bb32",
    "figures/label_count_added": "2d933165ed1d",
    "figures/label_count_gone": "5031a6fcdc7f",
    "figures/label_count_moved": "5107f03977bf",
    "figures/read_count_added": "53629fc2fe7e",
    "figures/response_count_added": "57e4eda29479",
    "figures/response_figures": None,
    "figures/result_count_added": "84c154fe200d",
    "figures/result_count_moved": "8766b56e9555",
    "figures/result_figures": None,
    "figures/route_count_added": "6e18cd746736",
    "figures/route_figures": None,
}

# The figures are rebuilt from the facts once those are in force.
fills_figures = True

KINDS = (
    "route", "attempt", "call", "result", "agreement", "correction", "buffer", "batch", "request", "carried", "item", "asked",
    "due", "urgent", "first", "read", "answer", "try", "compared", "label",
)
NO_NEED = ("items", "usd", "bound_usd", "realtime_usd", "batch_usd", "input", "output", "cached", "written")
GONE = (
    "count_added()", "count_moved()", "attempt_figures(bigint[])", "correction_figures(bigint[])", "response_figures(bigint[])",
    "result_figures(bigint[])", "route_figures(bigint[])",
)
FACTS = ("item", "route", "attempt", "response", "result", "correction", "read", "batch", "label")


def upgrade() -> None:
    # Nobody writes facts until they are counted anew.
    op.execute(f"lock table {', '.join(f'lanes.{table}' for table in FACTS)} in share row exclusive mode")
    known = ", ".join(map(repr, KINDS))
    for table in ("figure", "figure_hist", "figure_delta"):
        op.execute(f"truncate lanes.{table}")
        op.drop_constraint(op.f(f"ck_{table}_kind_known"), table, schema="lanes")
        op.create_check_constraint(op.f(f"ck_{table}_kind_known"), table, f"kind in ({known})", schema="lanes")
    for column in NO_NEED:
        op.alter_column("figure_delta", column, server_default=sa.text("0"), schema="lanes")
    for function in GONE:
        op.execute(f"drop function if exists lanes.{function} cascade")
    op.execute("drop type if exists lanes.item_state, lanes.figure_row cascade")


def downgrade() -> None:
    raise RuntimeError("restore a backup: older functions do not count the new kinds")
