"""Saving and publishing a workload's block for the `lanes` command, which does not import Prefect itself.

`python -m tasks.edit` reads an `Edit` as JSON from standard input and writes an `EditReply` to standard output.
"""

import asyncio
import sys

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import BlockDocumentCreate, BlockDocumentUpdate
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from blocks.workload import Workload
from lanes import collect_garbage_seldom
from lanes.errors import ActionRefused, SpecInvalid, StillLocked
from lanes.settings import Settings
from lanes.store.database import Database
from lanes.store.workload import candidates, golden, workloads
from lanes.store.workload.golden import PublishOptions
from lanes.words import GoldenState, Lane
from lanes.workload.definition import Edit, EditOutcome, EditReply, content_hash, differences
from lanes.workload.version import Spec
from tasks.publish import SLUG, publish
from tasks.runs import summarize_error


async def edit(db: Database, wished: Edit) -> EditReply:
    """Save the block, then publish it; the order matters, because the next publisher reads the block.

    A candidate is stored before its block is saved, so that no publisher puts it in force. If the block has changed since the
    author read it, nothing is changed.
    """
    spec = Spec.model_validate(wished.definition)
    try:
        await _prepare(db, wished, spec)
        reply = await _save(db, wished, spec)
        if wished.candidate and reply.outcome in (
            EditOutcome.EDITED_MEANWHILE,
            EditOutcome.NOT_SAVED,
        ):
            await db.run(candidates.dismiss, wished.name, spec)
    except (ActionRefused, StillLocked) as refused:
        return EditReply(EditOutcome.BLOCKED, str(refused))
    return reply


async def _save(db: Database, wished: Edit, spec: Spec) -> EditReply:
    try:
        async with get_client() as client:
            if not await _try_save(client, wished, spec):
                return EditReply(EditOutcome.EDITED_MEANWHILE)
    # after any error of Prefect, nothing is published, because the block may not have this content
    except Exception as error:
        return EditReply(EditOutcome.NOT_SAVED, summarize_error(error))
    trouble, problems = None, list[SpecInvalid]()
    try:
        options = PublishOptions(Lane(wished.golden), wished.force)
        published = await publish(db, options={wished.name: options})
        trouble, problems = published.untold, published.problems
    # the block is saved nevertheless; the lookup below shows whether the version is in force
    except Exception as error:
        trouble = summarize_error(error)
    try:
        version = (await db.run(workloads.read_versions)).get(wished.name)
        newest = await db.run(golden.runs, wished.name)
    except Exception as error:
        return EditReply(EditOutcome.ONLY_SAVED, summarize_error(error))
    if version is not None and not differences(version.spec, spec):
        return EditReply(EditOutcome.PUBLISHED, trouble)
    if wished.candidate:
        return EditReply(EditOutcome.CANDIDATE, trouble)
    for each in newest:
        if each.state is GoldenState.RUNNING and each.hash == content_hash(spec):
            return EditReply(EditOutcome.CANDIDATE, each.sentence)
    for each in problems:
        if each.workload == wished.name:
            return EditReply(EditOutcome.REFUSED, "; ".join(each.problems))
    return EditReply(EditOutcome.ONLY_SAVED if trouble else EditOutcome.OVERTAKEN, trouble)


async def _prepare(db: Database, wished: Edit, spec: Spec) -> None:
    """Store the candidate; for another edit, dismiss a candidate of the same content, so that publishers may use it."""
    async with db.transaction() as run:
        if wished.candidate:
            await run(candidates.store, wished.name, spec, now=run.now)
        else:
            await run(candidates.dismiss, wished.name, spec)


async def _try_save(client: PrefectClient, wished: Edit, spec: Spec) -> bool:
    """Save the block unless it has changed since its author read it; return whether it was saved."""
    await Workload.aregister_type_and_schema(client=client)
    schema, data = Workload._block_schema_id, spec.model_dump(mode="json")
    assert schema is not None
    assert Workload._block_type_id is not None
    document = await _block(client, wished.name)
    if (document and document.data) != wished.seen:
        return False
    if document is not None:
        change = BlockDocumentUpdate(block_schema_id=schema, data=data, merge_existing_data=False)
        await client.update_block_document(document.id, change)
        return True
    new = BlockDocumentCreate(
        name=wished.name, data=data, block_schema_id=schema, block_type_id=Workload._block_type_id
    )
    try:
        await client.create_block_document(new)
    except ObjectAlreadyExists:
        return False
    return True


async def _block(client: PrefectClient, name: str) -> BlockDocument | None:
    try:
        return await client.read_block_document_by_name(name, SLUG)
    except ObjectNotFound:
        return None


async def _main() -> None:
    url = Settings.read().database_url
    assert url is not None
    async with Database(url.get_secret_value()) as db:
        reply = await edit(db, Edit.read(sys.stdin.read()))
    print(reply.as_json())


if __name__ == "__main__":
    collect_garbage_seldom()
    asyncio.run(_main())
