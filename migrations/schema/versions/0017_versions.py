"""What SQL reads of a version stands in columns of its own: publishing writes them, and versions that exist have them.

What an older version's stored JSON lacks has the default of the day of this migration; what it holds of another kind, and
so can be read by nobody, has it too.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0017"
down_revision = "0016"

# Files of migrations/schema/current/ that change with it.
puts_in_force = {"doors/screened": "9a4023e20aac"}

COLUMNS = (
    ("mode", sa.Text(), "plain or lambda: whether an early answer owes an authoritative pass"),
    ("realtime_model", sa.Text(), "Model of the real-time lane"),
    ("batch_model", sa.Text(), "Model of the batch lane"),
    ("max_failures", sa.Integer(), "Failed attempts after which an item's work is given up"),
    ("give_up_after_h", sa.Integer(), "Hours after which what could not be answered fails"),
    ("batch_expected_minutes", sa.Integer(), "How long a batch of it usually takes"),
    ("compare_fields", ARRAY(sa.Text()), "Fields whose difference makes a correction; empty: all"),
    ("realtime_p95_s", sa.Double(), "Promised 95th percentile of real-time answers; 0: no promise"),
    ("dedupe", sa.Text(), "What an input without a key is known by: key (its place) or content"),
    ("max_payload_kib", sa.Integer(), "A larger input is refused"),
)
SPEC = "Instructions, schema, models, rules, promises"
WORDS = {"mode": ("plain", "lambda"), "dedupe": ("key", "content")}

FILLED = """
update lanes.version set
  mode = case when spec ->> 'mode' = 'lambda' then 'lambda' else 'plain' end,
  dedupe = case when spec ->> 'dedupe' = 'content' then 'content' else 'key' end,
  realtime_model = case jsonb_typeof(spec -> 'realtime_model') when 'string' then spec ->> 'realtime_model'
                                                               else 'claude-haiku-5-5' end,
  batch_model = case jsonb_typeof(spec -> 'batch_model') when 'string' then spec ->> 'batch_model'
                                                         else 'claude-haiku-5-5' end,
  max_failures = case when pg_input_is_valid(spec ->> 'max_failures', 'integer')
                      then (spec ->> 'max_failures')::int else 5 end,
  give_up_after_h = case when pg_input_is_valid(spec ->> 'give_up_after_h', 'integer')
                         then (spec ->> 'give_up_after_h')::int else 24 end,
  batch_expected_minutes = case when pg_input_is_valid(spec ->> 'batch_expected_minutes', 'integer')
                                then (spec ->> 'batch_expected_minutes')::int else 60 end,
  max_payload_kib = case when pg_input_is_valid(spec ->> 'max_payload_kib', 'integer')
                         then (spec ->> 'max_payload_kib')::int else 256 end,
  realtime_p95_s = case when jsonb_typeof(spec #> '{promises,realtime_p95_s}') = 'number'
                         and pg_input_is_valid(spec #>> '{promises,realtime_p95_s}', 'float8')
                        then (spec #>> '{promises,realtime_p95_s}')::float8 else 5 end,
  compare_fields = case jsonb_typeof(spec -> 'compare_fields')
                     when 'array' then array(select jsonb_array_elements_text(spec -> 'compare_fields'))
                     else '{}' end
"""


def upgrade() -> None:
    op.alter_column("version", "spec", comment=f"{SPEC}: read as a whole, never by key", existing_comment=SPEC, schema="lanes")
    for name, type_, comment in COLUMNS:
        op.add_column("version", sa.Column(name, type_, nullable=True, comment=comment), schema="lanes")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(FILLED)
    for name, _, _ in COLUMNS:
        op.alter_column("version", name, nullable=False, schema="lanes")
    for name, words in WORDS.items():
        known = ", ".join(f"'{word}'" for word in words)
        op.create_check_constraint(op.f(f"ck_version_{name}_known"), "version", f"{name} in ({known})", schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code publishes versions without these columns")
