"""Remedies: each remedy that a promise's message names, performed as its command or form does, ends the incident."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from sqlalchemy import Connection, func, select, text

from lanes.ids import BatchId
from lanes.json_data import dumps
from lanes.money.budget import Budget, Period
from lanes.promises.deadlines import CALM_FOR
from lanes.promises.incident import Incident, Promise, batch_of_subject
from lanes.promises.remedy import FormLink, FormTarget, commands, form
from lanes.rollouts.replays import Selection
from lanes.routing.split import Split
from lanes.store import incidents, webhooks
from lanes.store.doors import items
from lanes.store.money import budgets, ledger
from lanes.store.promises import recording
from lanes.store.replays import promotions, replays
from lanes.store.settling import decisions
from lanes.store.workload import workloads
from lanes.words import Lane, Signature
from lanes.workload import definition_file
from tests.conftest import NOON, later
from tests.examples import admit, begin_replay, publish, route
from tests.store.promises.test_endings import broken, look, state
from tests.store.tries import claim, claimed_item, home, save, submit, tried
from tests.unit.promises.test_remedy import parsed

Act = Callable[[Connection, Incident], None]
# These commands only show something; `resume` undoes a pause.
SHOWS = {
    "status",
    "report",
    "batches",
    "doctor",
    "psql",
    "diff",
    "why",
    "proposals",
}
SOON = later(minutes=1)


def answers(connection: Connection) -> None:
    """Answer all waiting real-time work."""
    for each in claim(connection, now=SOON, places=1_000):
        save(connection, tried(each, at=SOON), now=SOON)


def departs(connection: Connection, of: Incident) -> None:
    """Send the waiting items in a batch with a usual number of other items; all get a valid answer."""
    admit(connection, *(f"new{number}" for number in range(20)), now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, work = submit(connection, workloads.read_versions(connection)["letters"], now=SOON)
    save(connection, *(tried(each, at=SOON) for each in work), batch_id=batch_id, now=SOON)
    home(connection, batch_id, now=SOON)
    if of.promise is Promise.DEADLINE_AT_RISK:
        recording.record_at_risk(connection, [], now=NOON + CALM_FOR)


def pauses(connection: Connection, of: Incident) -> None:
    workloads.pause(connection, of.workload, since=SOON)


def retries_all(connection: Connection, of: Incident) -> None:
    assert decisions.retry(connection, of.workload, None, now=SOON)


def raises_the_budget(connection: Connection, of: Incident) -> None:
    more = Budget(of.workload, None, Period.DAY, "UTC", None, Decimal(10))
    budgets.put(connection, more, who="ada", why="test", now=SOON)


def sets_the_key(connection: Connection, of: Incident) -> None:
    answers(connection)


def replays_and_promotes(connection: Connection, of: Incident) -> None:
    begun = begin_replay(connection, of.workload, now=SOON, selection=Selection(only="failed"))
    replays.read_some(connection, begun.id, now=SOON)
    batch_id, work = submit(connection, workloads.read_versions(connection)[of.workload], now=SOON)
    save(connection, *(tried(each, at=SOON) for each in work), batch_id=batch_id, now=SOON)
    home(connection, batch_id, now=SOON)
    replays.finish(connection, now=SOON)
    promotions.promote(connection, of.workload, now=SOON)


def moves_it_to_batch(connection: Connection, of: Incident) -> None:
    workloads.set_split(connection, Split(of.workload, None, 0), who="ada", why="test", now=SOON)
    if of.promise is Promise.DEADLINE_AT_RISK:
        recording.record_at_risk(connection, [], now=NOON + CALM_FOR)
    answers(connection)
    admit(connection, *(f"moved{number}" for number in range(20)), now=SOON)
    route(connection, now=SOON)
    assert not claim(connection, now=later(minutes=2))


def gives_the_batch_up(connection: Connection, of: Incident) -> None:
    number = batch_of_subject(of.subject)
    assert number is not None
    decisions.give_up(connection, BatchId(number), who="ada", why="test", now=SOON)


def edits_the_workload(connection: Connection, of: Incident) -> None:
    """Save and publish a valid block, and answer the waiting work by it."""
    publish(connection, now=SOON, instructions="Sort the letter by its sender.", confidence=0.99)
    incidents.record_invalid(connection, [], now=SOON)
    answers(connection)


def answers_the_question(connection: Connection, of: Incident) -> None:
    connection.execute(
        text("update lanes.rollout set state = 'running' where state = 'waiting_approval'")
    )


def compares_again(connection: Connection, of: Incident) -> None:
    """Compare again, now with a complete bill."""
    ledger.record_differences(connection, {}, now=SOON)


def accepts_the_answers(connection: Connection, of: Incident) -> None:
    recording.accept_quality(connection, of.workload, Signature("ada", "they are right", SOON))


def publishes_the_version_before(connection: Connection, of: Incident) -> None:
    """Write the stored definition of the version before into a file, and publish the file."""
    before = workloads.read_versions(connection)[of.workload].number - 1
    written, published = [parsed(line)[1] for line in commands(of)[1:]]
    assert written["arguments"][-1] == str(published["file"])
    found = connection.execute(text(written["arguments"][1])).scalar_one()
    given = definition_file.read(dumps(found).encode(), file=written["arguments"][-1])
    assert workloads.publish(connection, given.name, given.spec, now=SOON).number == before


def collects(connection: Connection, of: Incident) -> None:
    items.advance_watermark(connection, items.COLLECT, SOON)


def reopens_the_webhook(connection: Connection, of: Incident) -> None:
    """Reopen the webhook, as after a test event that its receiver accepted."""
    to = webhooks.find(connection, "crm")
    assert to is not None
    webhooks.reopen(connection, to, now=SOON)


BY_COMMAND: dict[str, Act] = {
    "webhooks": reopens_the_webhook,
    "accept_quality": accepts_the_answers,
    "depart": departs,
    "pause": pauses,
    "retry": retries_all,
    "budget": raises_the_budget,
    "up": sets_the_key,
    "replay": replays_and_promotes,
    "publish": publishes_the_version_before,
}
BY_FORM: dict[str, Act] = {
    "accept_quality": accepts_the_answers,
    "collect": collects,
    "depart": departs,
    "pause": pauses,
    "set_budget": raises_the_budget,
    "set_split": moves_it_to_batch,
    "decide_batch": gives_the_batch_up,
    "replay": replays_and_promotes,
    "reconcile": compares_again,
}
BY_PLACE: dict[FormTarget, Act] = {
    FormTarget.BLOCK: edits_the_workload,
    FormTarget.PROVIDER: sets_the_key,
    FormTarget.RUN: answers_the_question,
}


# Minutes after noon of the looks after a remedy; an incident that expires after an hour has to end before that.
LOOKS: dict[Promise, tuple[float, ...]] = {Promise.AUTHORITATIVE_FAILED: (2, 16)}


def acting(of: Incident) -> list[Act]:
    """Return the actions of the commands and of the form that the incident's message names."""
    named = [parsed(line)[0] for line in commands(of)]
    wanted = form(of)
    acts = [BY_COMMAND[each] for each in named if each not in SHOWS | {"resume", "promote"}]
    return acts + ([] if wanted is None else [by_form(wanted)])


def by_form(wanted: FormLink) -> Act:
    return BY_FORM[wanted.name] if wanted.where is FormTarget.DEPLOYMENT else BY_PLACE[wanted.where]


# Lanes has no remedy for these: the provider has to answer again, or an administrator has to end a session.
ELSEWHERE = (Promise.PROVIDER_DOWN, Promise.ROLE_TAKEN)


@pytest.mark.slow
@pytest.mark.parametrize("promise", [each for each in Promise if each not in ELSEWHERE])
def test_each_remedy_that_a_message_names_ends_its_incident(
    connection: Connection, promise: Promise
) -> None:
    of = broken(connection, promise)
    remedies = acting(of)
    assert remedies
    for act in dict.fromkeys(remedies):
        undone = connection.begin_nested()
        act(connection, of)
        for minutes in LOOKS.get(promise, (2, 16, 75, 125)):
            look(connection, minutes=minutes)
        assert state(connection, of) == "resolved", act.__name__
        undone.rollback()
        assert state(connection, of) == "open"


def test_an_outage_needs_no_remedy_and_ends_when_the_provider_answers(
    connection: Connection,
) -> None:
    of = broken(connection, Promise.PROVIDER_DOWN)
    assert acting(of) == []
    for each in claim(connection, now=later(minutes=7), places=1_000):
        save(connection, tried(each, at=later(minutes=8)), now=later(minutes=8))
    look(connection, minutes=9)
    assert state(connection, of) == "resolved"


def test_the_query_that_a_budget_message_names_runs_and_lists_the_costs(
    connection: Connection,
) -> None:
    of = broken(connection, Promise.BUDGET)
    (line,) = (each for each in commands(of) if "psql" in each)
    _, given = parsed(line)
    today = connection.execute(select(func.now())).scalar_one()
    save(
        connection,
        tried(claimed_item(connection, "of today", now=today, workload=of.workload), at=today),
        now=today,
    )
    rows = connection.execute(text(given["arguments"][1])).all()
    assert [(row.lane, row.purpose, row.responses) for row in rows] == [("realtime", "answer", 1)]
    assert rows[0].usd > 0
