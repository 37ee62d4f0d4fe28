"""Early answers with and without their second pass, through the real SDK over HTTP."""

import pytest

from anthropic_standin.testing import Endpoint
from lanes.store.asking import through
from lanes.store.report import snapshot
from lanes.words import Lane
from tasks.connections import Connections
from tasks.sweep.duties import sample_passes
from tests.flows.batches import collect_all, submit
from tests.flows.conftest import Sender
from tests.flows.realtime import answer


@pytest.mark.slow
async def test_only_answers_that_fail_the_check_are_paid_twice_and_the_report_shows_what_that_saved(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    since, check = await at.db.now(), {"when": 'output.category == "b"', "sample": 0.001}
    keys = [f"k{n}" for n in range(20)]
    await sender.items(keys[0], lane=Lane.REALTIME, mode="lambda", second_pass=check)
    await sample_passes(at.db, await at.db.now())  # what came before is not read
    await sender.items(*keys[1:], lane=Lane.REALTIME, mode="lambda", second_pass=check)
    await answer(at)
    answered = await sender.rows(
        "select i.key, r.output ->> 'category' from lanes.result r join lanes.item i on i.id = r.item_id"
    )
    doubtful = {key for key, category in answered if category == "b"}
    assert 0 < len(doubtful) < 20
    states = await sender.states()
    assert {key for key, state in states.items() if state == "answered"} == doubtful
    assert await submit(at) == len(doubtful)
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    bills = await sender.rows("select lane, count(*) from lanes.response group by 1 order by 1")
    assert bills == [("batch", len(doubtful)), ("realtime", 20)]
    left_out = await sender.rows(
        "select key from lanes.item_status where settled_reason = 'not_sampled'"
    )
    assert {key for (key,) in left_out} == set(keys) - doubtful
    sender.time.passes(minutes=1)
    now = await at.db.now()
    await sample_passes(at.db, now)
    seen = await at.db.run(lambda c: snapshot.asked(through(c), since=since, now=now))
    assert sum(each.compared for each in seen.agreement) == len(doubtful)
    shown = {each.name: (each.answers, each.saved) for each in seen.second_passes}
    assert shown["b"] == (len(doubtful), 0)
    assert shown["a"] == (20 - len(doubtful), 20 - len(doubtful))
