"""The set-up of Prefect for Lanes: blocks, versions, schedules and automations. `lanes up` runs it."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import yaml
from prefect import get_client
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from blocks.database import DatabaseBlock
from blocks.provider import Provider
from blocks.slack_channel import SlackChannel
from blocks.workload import PlaybookBlock, Workload
from lanes.mainjob.samples import sample_workloads
from lanes.settings import Settings
from lanes.stand.deploying import AUTOMATIONS, SILENT_RUNS
from lanes.stand.prefect_api import is_local
from lanes.store.workload import workloads
from lanes.words import BLOCK
from tasks.pages import UNANSWERED
from tasks.publish import make_known, publish
from tasks.runs import REFUSED

RETIRED = ("submit", "act")  # deployments of earlier releases, to delete; their runs stay
BLOCK_TYPES: Sequence[type[Block]] = (
    Workload,
    PlaybookBlock,
    DatabaseBlock,
    Provider,
    SlackChannel,
)
BROKEN = {"prefect.flow-run.Crashed", "prefect.flow-run.Failed"}
ENDED = {
    *BROKEN,
    *(f"prefect.flow-run.{name}" for name in ("Completed", "Cancelled", REFUSED, UNANSWERED)),
}
# a run that waits for a person, without a process and so without a heartbeat
SUSPENDED = "prefect.flow-run.Suspended"
HEARTBEAT = "prefect.flow-run.heartbeat"
REST = timedelta(seconds=3)  # so that a run that cannot start is not replaced in a tight loop
SILENT_AFTER = timedelta(seconds=100)  # runs send a heartbeat every 30 seconds (prefect.yaml)


async def install(*, samples: bool) -> None:
    """Write to Prefect what a deployment file cannot contain, with or without sample workloads; keep operators' edits."""
    settings = Settings.read()
    async with get_client() as client:
        for kind in BLOCK_TYPES:
            await kind.aregister_type_and_schema(client=client)
        await _write_connections(settings)
        if samples:
            await _write_workloads(client)
        await _publish(client)
        await write_automations(client)
        await remove_retired(client)


async def remove_retired(client: PrefectClient) -> None:
    """Delete the deployments of earlier releases that have no flow in this release."""
    for name in RETIRED:
        try:
            retired = await client.read_deployment_by_name(f"{name}/{name}")
        except ObjectNotFound:
            continue
        await client.delete_deployment(retired.id)


async def _write_connections(settings: Settings) -> None:
    """Write the connection blocks from the environment; without an API key in it, the provider block does not change."""
    if settings.database_url is not None:
        where = {"url": settings.database_url, "direct_url": settings.direct_database_url}
        await DatabaseBlock.model_validate(where).asave(BLOCK, overwrite=True)
    if settings.anthropic_api_key is not None:
        await provider_block(settings, await _present_provider()).asave(BLOCK, overwrite=True)
    slack = SlackChannel(
        bot_token=settings.slack_bot_token,
        channel=settings.slack_channel,
        channels=settings.slack_channels,
        webhook_url=settings.slack_webhook_url,
        api_url=settings.slack_api_url,
    )
    if slack.connect() is not None:
        await slack.asave(BLOCK, overwrite=True)


async def _present_provider() -> Provider | None:
    try:
        return await Provider.aload(BLOCK)
    except ValueError:  # no such block yet
        return None


def provider_block(settings: Settings, present: Provider | None) -> Provider:
    """Return the provider block with keys and address from the environment; other settings that people changed stay."""
    kept_values: dict[str, object] = {}
    if present is not None:
        names = ("most_calls", "poll_s", "listing_grace_s", "create_within_s")
        written = {each: Provider.model_fields[each].default for each in names}
        written |= _nearby(is_local(present.base_url))
        values = {each: getattr(present, each) for each in names}
        kept_values = {each: value for each, value in values.items() if value != written[each]}
        kept_values["account"] = present.given_account
    address = {"base_url": settings.anthropic_base_url} if settings.anthropic_base_url else {}
    keys = {"api_key": settings.anthropic_api_key, "admin_key": settings.anthropic_admin_key}
    near = _nearby(settings.provider_is_local)
    block = Provider.model_validate({**keys, **address, **near, **kept_values})
    if present is not None and block.login is None and block.base_url == present.base_url:
        block.login = present.login
    return block


def _nearby(is_near: bool) -> dict[str, float]:
    """Return the settings for a provider on this machine, which is quick to poll; none for any other provider."""
    return {"poll_s": 1.0, "listing_grace_s": 5, "create_within_s": 30} if is_near else {}


async def _write_workloads(client: PrefectClient) -> None:
    """Create the sample workloads; skip those that exist."""
    for name, definition in sample_workloads().items():
        try:
            await client.read_block_document_by_name(name, Workload.get_block_type_slug())
        except ObjectNotFound:
            fields = {field: value for field, value in definition.items() if field != "name"}
            await Workload.model_validate(fields).asave(name)


async def _publish(client: PrefectClient) -> None:
    async with (await DatabaseBlock.aload(BLOCK)).connect() as db:
        published = await publish(db)
        await make_known(client, db, await db.run(workloads.read_in_force))
    for problem in published.problems:
        print(problem)


async def write_automations(client: PrefectClient) -> None:
    """Write each automation of the file, and the one for silent runs, to Prefect exactly once."""
    declared = yaml.safe_load(AUTOMATIONS.read_text())
    for automation in [*[await _find_replaced(client, each) for each in declared], _silent_runs()]:
        await _upsert(client, automation)


async def _find_replaced(client: PrefectClient, declared: dict[str, Any]) -> AutomationCore:
    deployment = await client.read_deployment_by_name(declared["deployment"])
    replacement = {
        "deployment_id": deployment.id,
        "parameters": declared["parameters"],
        "schedule_after": REST,
    }
    return AutomationCore(
        name=declared["name"],
        description=declared["description"],
        trigger=EventTrigger(
            expect=BROKEN,
            match_related={  # pyright: ignore[reportArgumentType]
                "prefect.resource.role": "deployment",
                "prefect.resource.id": f"prefect.deployment.{deployment.id}",
            },
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[RunDeployment.model_validate(replacement)],
    )


def _silent_runs() -> AutomationCore:
    """Return the automation that marks a run without a heartbeat as crashed, so that it is replaced."""
    crashed = {"state": StateType.CRASHED, "message": "no heartbeat for 100 seconds"}
    return AutomationCore(
        name=SILENT_RUNS,
        description="A run without a heartbeat for 100 seconds is marked crashed",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},  # pyright: ignore[reportArgumentType]
            match_related={  # pyright: ignore[reportArgumentType]
                "prefect.resource.role": "tag",
                "prefect.resource.id": "prefect.tag.lanes",
            },
            for_each={"prefect.resource.id"},
            after={HEARTBEAT},
            expect={HEARTBEAT, SUSPENDED, *ENDED},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENT_AFTER,
        ),
        actions=[ChangeFlowRunState.model_validate(crashed)],
    )


async def _upsert(client: PrefectClient, automation: AutomationCore) -> None:
    automations = await client.read_automations_by_name(automation.name)
    if not automations:
        await client.create_automation(automation)
        return
    first, *doubles = automations
    present = AutomationCore.model_validate(first.model_dump(exclude={"id"}))
    if present.model_dump(mode="json") != automation.model_dump(mode="json"):
        await client.update_automation(first.id, automation)
    for double in doubles:
        await client.delete_automation(double.id)


if __name__ == "__main__":
    asyncio.run(install(samples="--samples" in sys.argv[1:]))
