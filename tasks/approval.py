"""Questions to a person: the run is suspended and its process ends, and the person who resumes the run fills in a form."""

import json
from contextlib import suppress
from typing import Any, Self
from uuid import UUID

from prefect import get_client
from prefect.exceptions import ObjectNotFound, Pause, PrefectHTTPStatusError
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.states import Cancelled
from pydantic import ConfigDict, Field, StrictBool, ValidationError, model_validator

from lanes.report.links import versions_page
from lanes.report.replay import artifact_key
from lanes.rollouts.replays import Generation
from lanes.rollouts.rollout import Approval, Rollout
from lanes.workload.form import Who, Why, arrange


def _form(schema: dict[str, Any]) -> None:
    arrange(schema)
    # who, why and one switch, because an untouched switch is not sent
    schema["minProperties"] = 3


class RolloutApproval(RunInput):
    """The form behind Resume. No switch is on by default, and a form without a changed switch is no answer."""

    model_config = ConfigDict(json_schema_extra=_form, use_attribute_docstrings=True)

    approve: StrictBool | None = Field(default=None, title="Approve")
    """On: the rollout continues if its gates still pass and no critical incident is open."""
    decline: StrictBool | None = Field(default=None, title="Decline")
    """On: the share from before the rollout is restored. Switch on either this or Approve."""
    who: Who
    why: Why

    @model_validator(mode="after")
    def _is_one_answer(self) -> Self:
        declined = self.decline is True or (self.approve is False and self.decline is None)
        if declined is (self.approve is True):
            raise ValueError("approve or decline, one of the two")
        return self


class ReplayApproval(RolloutApproval):
    """The same form for a promotion or a demotion, which changes the results that readers get."""

    approve: StrictBool | None = Field(default=None, title="Approve")
    """On: the change is made now, and readers get the other results."""
    decline: StrictBool | None = Field(default=None, title="Decline")
    """On: nothing changes for readers. Switch on either this or Approve."""


async def ask(rollout: Rollout, question: str, page: str) -> Approval | None:
    """Return a person's answer, or None if the form was not filled in correctly; `page` shows the rollout's figures."""
    what = f"{rollout.workload} waits for approval at {rollout.basis_points / 100:g} %"
    key = f"rollout-{rollout.id}-question-{rollout.asked}"
    return await _answer(RolloutApproval, question, key=key, what=what, page=page)


async def ask_about_replay(generation: Generation, action: str, question: str) -> Approval | None:
    """Return a person's answer to a promotion or demotion of the replay, as `ask` does."""
    what, page = (
        f"{generation.name} waits for approval to {action} it",
        versions_page(artifact_key(generation)),
    )
    key = f"replay-{generation.id}-{action}"
    return await _answer(ReplayApproval, question, key=key, what=what, page=page)


async def _answer(
    form: type[RolloutApproval], question: str, *, key: str, what: str, page: str
) -> Approval | None:
    """Return a person's answer to the question `key`, or None if the form was not filled in correctly.

    On the first call, the run is suspended and its process ends. Once resumed, the run starts again, and this call
    with the same key returns the answer.
    """
    asking = form.with_initial_data(description=question)
    try:
        answer = await suspend_flow_run(  # pyright: ignore[reportGeneralTypeIssues]
            wait_for_input=asking, timeout=None, key=key
        )
    except Pause:
        get_run_logger().info(
            "%s: open this run in the UI, choose Resume in the menu with the three dots, and fill the form in. Figures: %s",
            what,
            page,
        )
        raise
    except ValidationError as error:
        get_run_logger().error("the answer is no answer and counts as none: %s", error)
        return None
    return Approval(answer.approve is True, answer.who, answer.why)


async def show_again(run_id: UUID, question: str) -> None:
    """Replace the text on the form of a suspended run, because its gates are evaluated while the question is open."""
    async with get_client() as client:
        run = await client.read_flow_run(run_id)
        keys = run.state.state_details.run_input_keyset if run.state is not None else None
        if keys is None:
            return  # the run was resumed
        given = {"flow_run_id": run_id, "key": keys["description"]}
        with suppress(ObjectNotFound, PrefectHTTPStatusError):
            await client.delete_flow_run_input(**given)
        await client.create_flow_run_input(**given, value=json.dumps(question))


async def is_asking(run_id: UUID) -> bool:
    """Return whether the run is suspended, or was resumed and has not ended yet."""
    async with get_client() as client:
        try:
            run = await client.read_flow_run(run_id)
        except ObjectNotFound:
            return False
    return run.state is not None and not run.state.is_final()


async def withdraw(run_id: UUID | None, why: str) -> None:
    """Cancel a run that is suspended for an answer that is no longer needed."""
    if run_id is None:
        return
    # Prefect is unavailable: when the run is resumed, it finds that the rollout has ended
    with suppress(Exception):
        async with get_client() as client:
            run = await client.read_flow_run(run_id)
            if run.state is not None and run.state.is_paused():
                await client.set_flow_run_state(run_id, Cancelled(message=why))
