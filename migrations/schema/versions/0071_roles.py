"""The doors run with the rights of the schema's owner, functions are no longer public, and no table takes an infinite moment."""

from alembic import op

revision = "0071"
down_revision = "0070"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "doors/amend": "7ace08d2fdf4",
    "doors/cancel": "3e8ad8a840f0",
    "doors/label": "26514e05854b",
    "doors/submit": "78f47f846538",
    "doors/submit_item": "bcde27e3ff65",
    "doors/submit_many": "358219b90de3",
    "money/budgets_at": "6d925dab53ed",
    "settling/read_result": "eee4a1aa952a",
}

MOMENTS = {
    "amendment": ["received_at", "occurred_at", "decided_at"],
    "attempt": ["started_at", "ended_at"],
    "batch": [
        "short_read_at",
        "intended_at",
        "create_ended_at",
        "searched_at",
        "adopted_at",
        "proved_at",
        "unknown_since",
        "cancel_at",
        "submitted_at",
        "expected_end_at",
        "stated_back_at",
        "ended_at",
        "collected_at",
    ],
    "budget": ["refused_at", "set_at"],
    "budget_spent": ["began_at"],
    "budget_use": ["began_at"],
    "caching": ["since", "decided_at", "again_at"],
    "capacity": ["reset_at", "seen_at"],
    "correction": ["corrected_at"],
    "disowned": ["disowned_at"],
    "event_outbox": ["occurred_at"],
    "figure": ["at", "first_at", "last_at"],
    "figure_delta": ["at", "first_at", "last_at"],
    "figure_peak": ["at"],
    "figure_spread": ["at"],
    "generation": ["created_at", "completed_at", "promoted_at", "demoted_at", "dropped_at"],
    "incident": ["opened_at", "updated_at", "resolved_at"],
    "item": [
        "as_of",
        "due_at",
        "occurred_at",
        "received_at",
        "answered_at",
        "settled_at",
        "failed_at",
        "canceled_at",
        "forgotten_at",
        "emptied_at",
    ],
    "label": ["labeled_at"],
    "outage": ["began_at", "faulted_at", "next_probe_at", "over_at"],
    "overhead": ["set_at"],
    "pack_check": ["asked_at", "compared_at", "repeated_at"],
    "pack_size": ["decided_at"],
    "publisher": ["lease_until", "paced_until"],
    "read": ["read_at"],
    "rejected": ["rejected_at"],
    "response": ["billed_at"],
    "result": ["created_at"],
    "revision": ["received_at", "occurred_at"],
    "rollout": ["step_started_at", "approved_at", "started_at", "ended_at", "asked_at"],
    "rollout_event": ["at"],
    "rollout_measurement": ["at"],
    "route": ["decided_at"],
    "slack_post": ["posted_at", "next_try_at", "reminded_at"],
    "split": ["set_at"],
    "stored_span": ["start_at"],
    "version": ["published_at"],
    "watermark": ["seen_until"],
    "work": ["ready_at", "rank_at", "due_at", "lease_until", "created_at", "finished_at"],
    "workload": ["paused_at", "submit_at", "refused_at", "created_at"],
}


def upgrade() -> None:
    for table, moments in MOMENTS.items():
        finite = " and ".join(f"isfinite({name})" for name in moments)
        op.execute(f"alter table lanes.{table} add constraint ck_{table}_finite check ({finite})")


def downgrade() -> None:
    raise RuntimeError("restore a backup: older versions call functions with the rights of their caller")
