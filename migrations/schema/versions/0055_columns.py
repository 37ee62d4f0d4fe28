"""Every column of every view says in the database what it holds."""

revision = "0055"
down_revision = "0052"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force: dict[str, str] = {
    "batch/batch_status": "534e47321181",
    "doors/rejected_log": "9569f359884d",
    "doors/revision_log": "c52b7315b058",
    "figures/accuracy": "5c1432138a50",
    "figures/figure_hist": "12bad7c896e8",
    "figures/lane_latency": "82a2de6508e5",
    "figures/routing_mix": "770515016a60",
    "money/budget_status": "1e34dfde1ba5",
    "money/spend": "1ed26b5bb96c",
    "promises/incident_log": "c08620734aa9",
    "replays/replay_log": "371eefc26e4f",
    "rollouts/rollout_log": "0422ef9e7c7c",
    "routing/route_log": "aa56e3b4f754",
    "settling/attempt_log": "b79431083d60",
    "settling/correction_log": "7945fea7f55e",
    "settling/current_results": "4fa7cb53ddd5",
    "settling/item_status": "5d52f565f472",
}


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise RuntimeError("restore a backup, or go on with the comments: older code reads the same columns")
