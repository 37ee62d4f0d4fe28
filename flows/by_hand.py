"""Forms for people: one flow for each action. A run returns the state after the action, or ends as refused with the reason."""

from prefect import State, flow

from lanes.commands import actions, alerts
from lanes.commands.items import JobAction
from lanes.commands.labels import AcceptQuality, LabelItem
from tasks.by_hand import run_action, show_replay

Ended = str | State[str]


@flow(name="pause", flow_run_name="{action.what}", persist_result=False)
async def pause(action: actions.Pause) -> Ended:
    """Stop serving a workload; its items wait."""
    return await run_action(action)


@flow(name="resume", flow_run_name="{action.what}", persist_result=False)
async def resume(action: actions.Resume) -> Ended:
    """Serve a paused workload again."""
    return await run_action(action)


@flow(name="accept_quality", flow_run_name="{action.what}", persist_result=False)
async def accept_quality(action: AcceptQuality) -> Ended:
    """Use a workload's answers from now on as the reference for their quality."""
    return await run_action(action)


@flow(name="set_split", flow_run_name="{split.what}", persist_result=False)
async def set_split(split: actions.SetSplit) -> Ended:
    """Set the share of undecided items that go to real time."""
    return await run_action(split)


@flow(name="end_split", flow_run_name="{action.what}", persist_result=False)
async def end_split(action: actions.EndSplit) -> Ended:
    """End a consumer's own split; the workload's split applies to it again."""
    return await run_action(action)


@flow(name="set_budget", flow_run_name="{budget.what}", persist_result=False)
async def set_budget(budget: actions.SetBudget) -> Ended:
    """Set the daily or monthly budget of a workload, or of one of its consumers."""
    return await run_action(budget)


@flow(name="remove_budget", flow_run_name="{action.what}", persist_result=False)
async def remove_budget(action: actions.RemoveBudget) -> Ended:
    """Remove a budget."""
    return await run_action(action)


@flow(name="set_overhead", flow_run_name="{overhead.what}", persist_result=False)
async def set_overhead(overhead: actions.SetOverhead) -> Ended:
    """Set the monthly cost of running a lane, apart from the provider's bill."""
    return await run_action(overhead)


@flow(name="decide_batch", flow_run_name="{decision.what}", persist_result=False)
async def decide_batch(decision: actions.DecideBatch) -> Ended:
    """Decide about an open batch, or show what the decision may cost."""
    return await run_action(decision)


@flow(name="handle_incident", flow_run_name="{action.what}", persist_result=False)
async def handle_incident(action: alerts.HandleIncident) -> Ended:
    """Silence or acknowledge an incident for some time."""
    return await run_action(action)


@flow(name="hold_rollout", flow_run_name="{action.what}", persist_result=False)
async def hold_rollout(action: actions.HoldRollout) -> Ended:
    """Hold a rollout at its step until a person approves."""
    return await run_action(action)


@flow(name="abort_rollout", flow_run_name="{action.what}", persist_result=False)
async def abort_rollout(action: actions.AbortRollout) -> Ended:
    """End a rollout and restore the share from before it."""
    return await run_action(action)


@flow(name="promote_rollout", flow_run_name="{action.what}", persist_result=False)
async def promote_rollout(action: actions.PromoteRollout) -> Ended:
    """Take a rollout to its next step, even if its gates have not passed."""
    return await run_action(action)


@flow(name="extend_rollout", flow_run_name="{action.what}", persist_result=False)
async def extend_rollout(action: actions.ExtendRollout) -> Ended:
    """Give a rollout's step more time."""
    return await run_action(action)


@flow(name="decide_proposal", flow_run_name="{action.what}", persist_result=False)
async def decide_proposal(action: actions.DecideProposal) -> Ended:
    """Approve, edit or decline a proposed rollout."""
    return await run_action(action)


@flow(name="promote", flow_run_name="{action.what}", persist_result=False)
async def promote(action: actions.Promote) -> Ended:
    """Show a complete replay's results to readers."""
    return await show_replay(action)


@flow(name="demote", flow_run_name="{action.what}", persist_result=False)
async def demote(action: actions.Demote) -> Ended:
    """Undo a promotion; readers get the results from before it."""
    return await show_replay(action)


@flow(name="drop", flow_run_name="{action.what}", persist_result=False)
async def drop(action: actions.Drop) -> Ended:
    """Drop a replay and cancel its open work."""
    return await run_action(action)


@flow(name="retry", flow_run_name="{action.what}", persist_result=False)
async def retry(action: actions.Retry) -> Ended:
    """Retry failed items, with a full retry budget."""
    return await run_action(action)


@flow(name="job", flow_run_name="{action.what}", persist_result=False)
async def job(action: JobAction) -> Ended:
    """Show a job, cancel its open items, or retry its failed items."""
    return await run_action(action)


@flow(name="cancel", flow_run_name="{action.what}", persist_result=False)
async def cancel(action: actions.Cancel) -> Ended:
    """Cancel an item that has not settled."""
    return await run_action(action)


@flow(name="forget", flow_run_name="{action.what}", persist_result=False)
async def forget(action: actions.Forget) -> Ended:
    """Cancel an item and erase its input, answers and labels."""
    return await run_action(action)


@flow(name="explain", flow_run_name="{action.what}", persist_result=False)
async def explain(action: actions.Explain) -> Ended:
    """Show the history of an item and its next step."""
    return await run_action(action)


@flow(name="preview", flow_run_name="{action.what}", persist_result=False)
async def preview(action: actions.PreviewAction) -> Ended:
    """Show the request and the cost of an item on each lane, without sending anything."""
    return await run_action(action)


@flow(name="label", flow_run_name="{action.what}", persist_result=False)
async def label(action: LabelItem) -> Ended:
    """Label an item of the review queue, and show the rest of the queue."""
    return await run_action(action)
