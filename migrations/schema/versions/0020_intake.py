"""Items are admitted by statements over whole lists, and one by one without taking a list apart.

The foreign keys from an item, a route and work to the workload and its version are said and no longer enforced. Whoever writes
these rows has just read both, and nobody deletes either; enforced they asked for the same two rows, and locked them, once more
for every item: a third of an admission, and a quarter of a route.
"""

from alembic import op

revision = "0020"
down_revision = "0019"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "doors/admit": "b7cc52c5d606",
    "doors/admit_one": "a77c63cbd287",
    "doors/admitted": "a9c42b2675a8",
    "doors/conflict": "1720a5d74286",
    "doors/field_names": "230a38b905e6",
    "doors/refusal": "407b8b9a3c01",
    "doors/refuse": "ab584d0ce79c",
    "doors/screened": "0039ee982236",
    "doors/screened_input": "a58931ebdc08",
    "doors/submit": "8a6fc85ac3c6",
    "doors/submit_item": "deeae43bfc10",
    "doors/submit_many": "af8198ac17af",
    "doors/take_amendment": "7fd7e6ae36a6",
}


SAID = {"item": ["workload"], "route": ["version_id"], "work": ["workload", "version_id"]}


def upgrade() -> None:
    _alter("not enforced")


def downgrade() -> None:
    _alter("enforced")


def _alter(how: str) -> None:
    for table, columns in SAID.items():
        for column in columns:
            op.execute(f"alter table lanes.{table} alter constraint fk_{table}_{column} {how}")
