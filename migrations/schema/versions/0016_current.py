"""The functions and views stand in migrations/schema/current/, and are put in force from there."""

revision = "0016"
down_revision = "0015"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "batch/batch_status": "853873b6dad6",
    "doors/admit": "4aad6d5254ae",
    "doors/amend": "8889b638d6b6",
    "doors/apply_amendment": "608b783ce326",
    "doors/apply_waiting": "56b680371cfd",
    "doors/bound_refusal": "98ec6b472fe8",
    "doors/cancel": "6ceb056f7d59",
    "doors/is_a_moment": "d417a1a22d10",
    "doors/label": "8d16a095c7bf",
    "doors/rejected_bound_refusal": "adfefba3d019",
    "doors/rejected_log": "147ade613a27",
    "doors/revision_log": "aeebed5a1ec5",
    "doors/screened": "c0d455612777",
    "doors/screened_input": "033bf378c865",
    "doors/submit": "f8c60f4b3812",
    "doors/submit_item": "d288ccacd036",
    "doors/take_amendment": "df0bf108237d",
    "doors/unreadable": "6b36170acd11",
    "figures/accuracy": "1b918ff4b90f",
    "figures/lane_latency": "5f1567b15a7c",
    "figures/routing_mix": "6f1c5f22c056",
    "money/spend": "4688e27b2d66",
    "promises/incident_log": "8e50f28813ce",
    "replays/replay_log": "8d4aaa22b86c",
    "rollouts/rollout_log": "be19cf453256",
    "routing/route_log": "5ef5f6a64a52",
    "settling/attempt_log": "f9b00d47cff3",
    "settling/correction_log": "bc457b71f42f",
    "settling/current_results": "d9a55efe65a5",
    "settling/item_status": "a0bed6ceeb0b",
    "settling/read_result": "c8577024921c",
}


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
