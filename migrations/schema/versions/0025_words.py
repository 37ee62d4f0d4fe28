"""Every column of a closed set holds its words and no others."""

from alembic import op

revision = "0025"
down_revision = "0024"

LANES = ("realtime", "batch")
PURPOSES = ("answer", "authoritative", "shadow", "replay")
SEVERITIES = ("warning", "critical")
WORDS = {
    "attempt": {
        "lane": LANES,
        "purpose": PURPOSES,
        "outcome": (
            "valid", "invalid", "refused", "truncated", "errored", "poison", "pack_refused", "unserved", "canceled",
            "expired", "missing", "unknown", "given_up",
        ),
    },
    "response": {
        "lane": LANES,
        "purpose": PURPOSES,
    },
    "result": {
        "lane": LANES,
    },
    "route": {
        "reason": ("pinned", "overdue", "urgent", "urgent_rule", "deadline", "batch_rule", "split", "fallback"),
    },
    "rollout": {
        "holds": ("gathering", "inconclusive", "error", "incident", "approval", "ended"),
    },
    "rollout_event": {
        "event": ("started", "stepped", "held", "approval_asked", "approved", "declined", "rolled_back", "finished", "aborted"),
    },
    "rollout_measurement": {
        "measure": ("error_rate", "p95_s", "deadlines_met", "agreement"),
    },
    "incident": {
        "promise": (
            "batch_slow", "batch_failing", "batch_invalid", "batch_unclear", "batch_incomplete", "batch_never_started",
            "realtime_slow", "realtime_failing", "authoritative_failed", "workload_invalid", "items_failed",
            "provider_down", "approval_waits", "provider_frozen",
        ),
    },
    "slack_post": {
        "posted_state": ("open", "resolved"),
        "posted_severity": SEVERITIES,
    },
}


def upgrade() -> None:
    op.execute("alter table lanes.batch rename constraint ck_batch_ck_batch_state_known to ck_batch_state_known")
    for table, columns in WORDS.items():
        for column, words in columns.items():
            known = ", ".join(f"'{word}'" for word in words)
            op.create_check_constraint(op.f(f"ck_{table}_{column}_known"), table, f"{column} in ({known})", schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup, or go on with the constraints: older code writes the same words")
