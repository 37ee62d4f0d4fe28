"""Savings and the costs of days and other models: read from the figures of a workload, and equal to its ledger."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection, text

from lanes.advice.evidence import Evidence
from lanes.store import asking
from lanes.store.advice.advice import evidence, read_each, read_in_force
from lanes.store.figures import folding
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.late import LATE, in_batch, of_batch, rescue
from tests.store.tries import B, claim, rows, said, save, submit, tried


def seen(connection: Connection) -> Evidence:
    return evidence(connection, "letters", since=NOON, now=later(days=3))


@pytest.fixture
def lived_in(connection: Connection) -> Connection:
    """Set up a Lambda workload: one answer in real time after a failed attempt, its second pass, two more answers on batch (one
    pinned to batch, one sent there by the split), and one on batch two days later."""
    letters = publish(connection, now=NOON, mode="lambda", split_percent=0)
    admit(connection, "r", now=NOON, lane=Lane.REALTIME)
    admit(connection, "pinned", now=NOON, lane=Lane.BATCH)
    admit(connection, "free", now=NOON)
    route(connection, now=NOON)
    (first,) = claim(connection)
    save(connection, tried(first, Outcome.INVALID))
    again = later(minutes=5)
    save(connection, *(tried(each, at=again) for each in claim(connection, now=again)), now=again)
    batch_id, works = submit(connection, letters, now=later(minutes=6))
    answers = [tried(each, output=B, at=later(hours=1)) for each in works]
    save(connection, *answers, now=later(hours=1), batch_id=batch_id)
    after = later(days=2)
    admit(connection, "late", now=after, lane=Lane.BATCH)
    route(connection, now=after)
    batch_id, works = submit(connection, letters, now=after)
    save(
        connection,
        *(tried(each, at=after, response=said(tokens=500)) for each in works),
        now=after,
        batch_id=batch_id,
    )
    return connection


def test_the_savings_end_at_the_amount_in_the_ledger(lived_in: Connection) -> None:
    paid = lived_in.execute(text("select sum(cost_usd) from lanes.response")).scalar_one()
    of = lived_in.execute(
        text(
            "select purpose, sum(cost_usd) as usd from lanes.response where lane = 'batch' group by 1"
        )
    )
    batch = {each.purpose: each.usd for each in of}
    for _ in range(2):
        found = seen(lived_in).savings
        assert found is not None
        assert found.paid_usd == paid
        assert found.second_usd == -batch["authoritative"]
        assert found.repeats_usd < 0
        assert found.discount_usd + found.routing_usd == batch["answer"]  # batch costs half as much
        assert found.routing_usd == pytest.approx(
            batch["answer"] / 3
        )  # one of three routes to batch was free
        assert (found.model_usd, found.prices_usd) == (0, 0)
        folding.fold(lived_in)  # folded figures give the same


def test_the_figures_by_day_add_up_to_the_period(lived_in: Connection) -> None:
    found = seen(lived_in)
    days = found.days_seen
    assert [each.items for each in days] == [3, 0, 1, 0]
    assert sum(each.length for each in days) == pytest.approx(found.days)
    for lane in ("realtime", "batch"):
        whole = getattr(found, lane)
        assert sum(getattr(each, lane).answered for each in days) == whole.answered
        assert sum(getattr(each, lane).billed_usd for each in days) == pytest.approx(
            whole.billed_usd
        )
        assert sum(getattr(each, lane).list_usd for each in days) == pytest.approx(whole.list_usd)


def test_other_models_are_priced_with_the_same_tokens(lived_in: Connection) -> None:
    found = seen(lived_in)
    assert [each.name for each in found.models] == ["claude-sonnet-5-5", "claude-opus-5-5"]
    assert (found.models[0].realtime_factor, found.models[0].batch_factor) == (
        pytest.approx(20),
        pytest.approx(20),
    )
    assert found.provider_discount == pytest.approx(0.5)


def test_the_distance_is_the_average_of_the_corrections(lived_in: Connection) -> None:
    distances = lived_in.execute(text("select avg(distance) from lanes.correction")).scalar_one()
    assert seen(lived_in).distance == pytest.approx(distances)


def test_evidence_without_the_shared_tokens_omits_only_the_savings(
    lived_in: Connection,
) -> None:
    whole, ask = seen(lived_in), asking.through(lived_in)
    found = read_each(ask, read_in_force(ask, "letters"), since=NOON, now=later(days=3))["letters"]
    assert found == replace(whole, savings=None)


def test_a_lambda_item_rescued_in_real_time_costs_one_answer_and_one_second_pass(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "k", mode="lambda")
    rescue(connection)
    save(connection, *(tried(each, at=LATE) for each in claim(connection, now=LATE)), now=LATE)
    save(
        connection,
        tried(of_batch(connection, batch_id), at=later(hours=9)),
        batch_id=batch_id,
        now=later(hours=9),
    )
    found = seen(connection).savings
    assert found is not None
    of = {each.lane: each.cost_usd for each in rows(connection, "response")}
    assert (found.alone_usd, found.second_usd, found.repeats_usd) == (
        of["realtime"],
        -of["batch"],
        0,
    )
    assert found.paid_usd == of["realtime"] + of["batch"]
