"""The tables of schema `lanes`, a file per aggregate. Every comment there is also in the database (`\\d+`)."""

from lanes.store.tables.base import SCHEMA, finite_moments, metadata
from lanes.store.tables.batches import batch, batch_doubt, disowned
from lanes.store.tables.budgets import budget, budget_hold, budget_spent, budget_use
from lanes.store.tables.caching import caching
from lanes.store.tables.capacity import capacity
from lanes.store.tables.figures import (
    figure,
    figure_consumer,
    figure_delta,
    figure_peak,
    figure_spread,
)
from lanes.store.tables.generations import generation, promoted
from lanes.store.tables.incidents import incident, outage, slack_post
from lanes.store.tables.items import amendment, item, item_position, label, rejected, revision
from lanes.store.tables.ledger import attempt, response
from lanes.store.tables.outgoing import event_outbox, publisher, stored_span, watermark
from lanes.store.tables.overheads import overhead
from lanes.store.tables.packs import pack_check, pack_size
from lanes.store.tables.results import correction, read, result
from lanes.store.tables.rollouts import rollout, rollout_event, rollout_measurement
from lanes.store.tables.routing import route, split
from lanes.store.tables.work import batch_member, work
from lanes.store.tables.workloads import version, workload

finite_moments(metadata)

__all__ = [
    "SCHEMA",
    "amendment",
    "attempt",
    "batch",
    "batch_doubt",
    "batch_member",
    "budget",
    "budget_hold",
    "budget_spent",
    "budget_use",
    "caching",
    "capacity",
    "correction",
    "disowned",
    "event_outbox",
    "figure",
    "figure_consumer",
    "figure_delta",
    "figure_spread",
    "figure_peak",
    "generation",
    "incident",
    "item",
    "item_position",
    "label",
    "metadata",
    "outage",
    "overhead",
    "pack_check",
    "pack_size",
    "promoted",
    "publisher",
    "read",
    "rejected",
    "response",
    "result",
    "revision",
    "rollout",
    "rollout_event",
    "rollout_measurement",
    "route",
    "slack_post",
    "split",
    "stored_span",
    "version",
    "watermark",
    "work",
    "workload",
]
