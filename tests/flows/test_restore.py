"""A database that was restored from a copy: later batches are found at the provider, and paid once."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from anthropic_standin.testing import Endpoint
from lanes.batch.reconcile import ADOPTED
from lanes.store.batch import batches
from lanes.words import Lane
from tasks import collect
from tasks.connections import Connections
from tasks.reconcile import reconcile_unresolved
from tasks.send_batch import Blocked
from tests.flows.batches import collect_all, submit
from tests.flows.conftest import Sender
from tests.flows.test_reconcile import stranger

KEYS = tuple(f"key-{number}" for number in range(5))
# Turns the database into a copy that was made before the batch departed, restored as another database.
RESTORED = """
update lanes.work set state = 'ready', batch_id = null, claim_no = claim_no - 1, context = null where state = 'submitted';
delete from lanes.batch_member; delete from lanes.batch_doubt; delete from lanes.budget_hold; delete from lanes.event_outbox;
delete from lanes.batch;
update lanes.watermark set position = position + 1 where name = 'database'
"""


async def sent(at: Connections, sender: Sender, *keys: str, **spec: object) -> str:
    """Send a batch of these keys; return its id at the provider."""
    await sender.items(*keys, lane=Lane.BATCH, **spec)  # pyright: ignore[reportArgumentType]
    await submit(at)
    (batch,) = await at.db.run(batches.open_batches)
    assert batch.provider_batch_id is not None
    return batch.provider_batch_id


def restored(pool: Engine, *lost: str) -> None:
    """Restore a copy from before the batch departed, and from before the `lost` keys arrived."""
    with pool.begin() as connection:
        for statement in RESTORED.split(";"):
            connection.execute(text(statement))
        for key in lost:
            for statement in (
                "delete from lanes.work using lanes.item i where i.id = item_id and key = :k",
                "delete from lanes.route using lanes.item i where i.id = item_id and key = :k",
                "delete from lanes.item where key = :k",
            ):
                connection.execute(text(statement), {"k": key})


@pytest.mark.parametrize("pack", [1, 3])
async def test_a_batch_that_departed_after_the_copy_answers_its_items_and_is_paid_once(
    at: Connections, endpoint: Endpoint, sender: Sender, pool: Engine, pack: int
) -> None:
    endpoint.fault("batches.create", "stall")
    orphan = await sent(at, sender, *KEYS, batch_pack=pack)
    restored(pool)
    with pytest.raises(Blocked, match="the database was restored"):
        await submit(at)
    await reconcile_unresolved(at)
    with pytest.raises(Blocked):  # the batch is still open
        await submit(at)
    endpoint.control("DELETE", "faults")
    endpoint.ended(orphan)
    await reconcile_unresolved(at)
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    ((state, note, valid),) = await sender.rows("select state, note, succeeded from lanes.batch")
    assert (state, valid) == ("collected", len(KEYS))
    assert str(note) == f"{ADOPTED} as {orphan}"
    ((responses,),) = await sender.rows("select count(*) from lanes.spend")
    assert responses == -(-5 // pack) == endpoint.bill()["responses"]
    assert await at.db.run(batches.open_batches) == []


async def test_answers_to_items_that_are_missing_in_the_copy_are_billed_and_reported(
    at: Connections, endpoint: Endpoint, sender: Sender, pool: Engine
) -> None:
    orphan = await sent(at, sender, *KEYS)
    restored(pool, *KEYS[:2])
    endpoint.ended(orphan)
    await reconcile_unresolved(at)
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    ((note, items),) = await sender.rows("select note, items from lanes.batch")
    assert "2 items of it came after the copy" in str(note)
    assert items == 3
    ((responses, usd),) = await sender.rows("select count(*), sum(cost_usd) from lanes.spend")
    assert (responses, usd) == (len(KEYS), Decimal(endpoint.bill()["usd"]))


async def test_each_item_of_a_pack_that_the_copy_contains_in_part_gets_its_own_answer(
    at: Connections, endpoint: Endpoint, sender: Sender, pool: Engine
) -> None:
    orphan = await sent(at, sender, *KEYS, batch_pack=3)
    restored(pool, KEYS[0], KEYS[4])
    endpoint.ended(orphan)
    await reconcile_unresolved(at)
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    assert await sender.rows("select count(*) from lanes.result") == [(3,)]
    shown = "select count(*) from lanes.attempt where shown and outcome = 'valid' and claim_no > 0"
    assert await sender.rows(shown) == [(3,)]
    ((responses, usd),) = await sender.rows("select count(*), sum(cost_usd) from lanes.spend")
    assert (responses, usd) == (2, Decimal(endpoint.bill()["usd"]))
    assert await sender.rows("select count(*) from lanes.incident_log where state = 'open'") == [
        (0,)
    ]


async def test_a_batch_without_any_item_in_the_copy_is_billed(
    at: Connections, endpoint: Endpoint, sender: Sender, pool: Engine
) -> None:
    orphan = await sent(at, sender, *KEYS)
    restored(pool, *KEYS)
    endpoint.ended(orphan)
    await reconcile_unresolved(at)
    assert await sender.rows("select state, items from lanes.batch") == [("collected", 0)]
    assert await sender.rows("select count(*) from lanes.spend") == [(len(KEYS),)]


async def test_another_item_under_the_number_of_a_lost_item_gets_none_of_its_answers(
    at: Connections, endpoint: Endpoint, sender: Sender, pool: Engine
) -> None:
    orphan = await sent(at, sender, *KEYS)
    restored(pool)
    with pool.begin() as connection:
        connection.execute(
            text("""update lanes.item set payload = '{"text": "other"}' where key = 'key-0'""")
        )
    endpoint.ended(orphan)
    await reconcile_unresolved(at)
    await collect_all(at, endpoint)
    assert {key for key, state in (await sender.states()).items() if state != "settled"} == {
        "key-0"
    }
    sender.time.passes(minutes=1)
    assert await submit(at) == 1


async def test_batches_of_others_are_not_adopted_and_block_nothing_once_they_have_ended(
    at: Connections, endpoint: Endpoint, sender: Sender, pool: Engine
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    await reconcile_unresolved(at)
    foreign = await stranger(at)
    restored(pool)
    endpoint.ended(foreign)
    await reconcile_unresolved(at)
    assert await sender.rows("select count(*) from lanes.batch") == [(0,)]
    assert await submit(at) == len(KEYS)


async def test_batches_of_others_do_not_block_a_database_that_was_not_restored(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await stranger(at)
    await sender.items(*KEYS, lane=Lane.BATCH)
    for _ in range(2):
        await reconcile_unresolved(at)
    assert await submit(at) == len(KEYS)


async def test_the_create_that_the_copy_waited_for_is_recognized_by_its_nonce(
    at: Connections, endpoint: Endpoint, sender: Sender, pool: Engine
) -> None:
    orphan = await sent(at, sender, *KEYS)
    await stranger(at)
    with pool.begin() as connection:
        connection.execute(
            text(
                "update lanes.batch set state = 'intended', provider_batch_id = null, submitted_at = null"
            )
        )
        connection.execute(
            text("update lanes.watermark set position = position + 1 where name = 'database'")
        )
    endpoint.ended(orphan)
    sender.time.passes(minutes=30)
    await reconcile_unresolved(at)
    (batch,) = await at.db.run(batches.open_batches)
    assert batch.provider_batch_id == orphan
    assert await collect.poll(at, batch)
    await collect.bring_home(at, batch)
    assert set((await sender.states()).values()) == {"settled"}
