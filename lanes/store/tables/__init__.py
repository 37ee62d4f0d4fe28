"""The tables of schema `lanes`, a file per aggregate. Their comments are also in the database."""

# ruff: noqa: F401

from lanes.store.tables.base import SCHEMA, metadata
from lanes.store.tables.figures import (
    figure,
    figure_consumer,
    figure_delta,
    figure_peak,
    figure_spread,
    quality,
)
from lanes.store.tables.items import (
    amendment,
    archive,
    golden_answer,
    golden_item,
    golden_run,
    item,
    item_position,
    job,
    job_use,
    label,
    rejected,
    revision,
    route,
    split,
    tenant,
)
from lanes.store.tables.ledger import (
    attempt,
    budget,
    budget_hold,
    budget_spent,
    budget_use,
    caching,
    call_wait,
    capacity,
    correction,
    generation,
    overhead,
    promoted,
    read,
    response,
    result,
)
from lanes.store.tables.outgoing import (
    event_outbox,
    incident,
    outage,
    publisher,
    slack_note,
    slack_post,
    stored_span,
    watermark,
    webhook,
    webhook_event,
    webhook_try,
)
from lanes.store.tables.rollouts import (
    proposal,
    rollout,
    rollout_event,
    rollout_measurement,
    shadow_pair,
)
from lanes.store.tables.work import (
    batch,
    batch_doubt,
    batch_member,
    disowned,
    pack_check,
    pack_size,
    work,
)
from lanes.store.tables.workloads import second_pass, version, workload
