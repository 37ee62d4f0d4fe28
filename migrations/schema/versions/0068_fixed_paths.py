"""Functions look names up in pg_catalog alone, and those with their owner's rights are no longer public."""

revision = "0068"
down_revision = "0067"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "doors/admit": "277735175001",
    "doors/admit_one": "592082ecb898",
    "doors/apply_amendment": "1a53eaca18cc",
    "doors/apply_waiting": "31e123569004",
    "doors/bound_refusal": "99b59d4dbe4b",
    "doors/cancel": "c503e25fc9db",
    "doors/input_refusal": "201e56357356",
    "doors/label": "23f1a64f9490",
    "doors/refuse": "3706a910ee7a",
    "doors/schema_fault": "b26aa8de9ddb",
    "doors/submit": "39a8d8c98d6a",
    "doors/take_amendment": "e65666a4dd32",
    "figures/batch_figures": "382e4b13e385",
    "figures/figure_hist_since": "aac7e2d5e95f",
    "figures/figures_since": "ee380fa4aae3",
    "money/budgets_at": "ad23e2c1b90c",
    "money/use_of_attempts": "09bb8d1121fd",
    "money/use_of_responses": "405654e115ce",
    "settling/read_result": "bc141f820df6",
}


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise RuntimeError("restore a backup: the functions of older versions can be made to call what another role planted")
