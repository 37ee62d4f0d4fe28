"""Every cell of the table of meanings in `docs/concepts/lanes-and-items.md`, checked on a real Postgres."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from lanes.doors.item import Amendment
from lanes.routing.shedding import Shed
from lanes.routing.split import Split
from lanes.store.doors import full_data, items
from lanes.store.replays import promotions, replays
from lanes.store.routing import second_look
from lanes.store.workload import workloads
from lanes.units import pluralize
from lanes.words import Outcome, Signature
from tests.conftest import NOON
from tests.docs.blocks import table
from tests.examples import FORCED, admit, publish, route
from tests.store import late
from tests.store.tries import B, claim, home, row, rows, save, submit, tried

REPLAYED = {"category": "b", "note": "read again"}
MODES = ("plain", "Lambda", "Kappa")


class ItemLife:
    """The life of item "k" of one workload; in Kappa its stream is replayed and the replay is promoted."""

    def __init__(self, connection: Connection, mode: str) -> None:
        self.connection, self.mode, self.now = connection, mode, NOON
        self.replay: int | None = None
        self.letters = publish(
            connection,
            now=NOON,
            mode="lambda" if mode == "Lambda" else "plain",
            split_percent=100,
            max_failures=1,
            history_items=5,
        )

    def passes(self, hours: float = 1) -> datetime:
        self.now += timedelta(hours=hours)
        return self.now

    def arrives(self, key: str = "k", **fields: Any) -> None:
        admit(self.connection, key, now=self.passes(), **fields)
        route(self.connection, now=self.now)

    def asks_real_time(self) -> list[Any]:
        return claim(self.connection, now=self.passes())

    def real_time(self, outcome: Outcome = Outcome.VALID) -> None:
        for each in self.asks_real_time():
            save(self.connection, tried(each, outcome, at=self.now), now=self.now)

    def departs(self) -> tuple[Any, list[Any]]:
        return submit(self.connection, self.letters, now=self.passes())

    def comes_back(self, batch_id: Any, asked: list[Any], output: dict[str, Any] = B) -> None:
        attempts = [tried(each, output=output, at=self.passes(2)) for each in asked]
        save(self.connection, *attempts, batch_id=batch_id, now=self.now)
        home(self.connection, batch_id, now=self.now)

    def batch(self, output: dict[str, Any] = B) -> None:
        self.comes_back(*self.departs(), output)

    def amended(self, text: str, occurred_at: datetime | None = None) -> str:
        said = Amendment("letters", "k", {"text": text}, occurred_at=occurred_at)
        return items.amend(self.connection, said, door="client", now=self.passes()).outcome

    def replays(self, *, always: bool = False) -> None:
        """Replay the stream up to its current end, in Kappa or if `always` is set."""
        if self.mode != "Kappa" and not always:
            return
        by = Signature("ada", "", self.passes())
        asked = {"version_no": None, "first": None, "last": None, "selection": FORCED}
        of = replays.begin(self.connection, "letters", **asked, by=by)
        while not of.read_whole:
            of = replays.read_some(self.connection, of.id, limit=10, now=self.now)
        self.replay = of.id
        self.batch(REPLAYED)
        replays.finish(self.connection, now=self.now)

    def promoted(self) -> None:
        promotions.promote(self.connection, "letters", now=self.passes())

    def ends(self) -> str:
        """Finish the item and return the text that the page should show for it."""
        self.batch()
        if not rows(self.connection, "replay_log"):
            self.replays()
        if self.replay is not None:
            self.promoted()
        current = rows(self.connection, "current_results", key="k")
        answer = "no answer"
        for each in current:
            whose = "replay" if each.generation else each.lane.replace("realtime", "real-time")
            answer = f"{whose} answer"
            answer += " (provisional)" if each.standing == "provisional" else ""
        corrected = ", corrected" * len(rows(self.connection, "correction_log", key="k"))
        tries = rows(self.connection, "attempt_log", key="k")
        bills = pluralize(sum(each.message_id is not None for each in tries), "bill")
        return f"{row(self.connection, 'item_status', key='k').state}: {answer}{corrected}, {bills}"


def is_on_time(of: ItemLife) -> None:
    of.arrives()
    of.real_time()


def is_out_of_order(of: ItemLife) -> None:
    of.arrives("after", entity="ann", occurred_at=NOON)
    of.arrives(entity="ann", occurred_at=NOON - timedelta(hours=1))
    ids = {each.key: each.item_id for each in rows(of.connection, "item_status")}
    told = full_data.read_lengths(of.connection, dict.fromkeys(ids.values(), of.letters))
    assert (len(told.get(ids["after"], ())), len(told.get(ids["k"], ()))) == (1, 0)
    of.real_time()


def is_late(of: ItemLife) -> None:
    of.arrives("before")
    of.real_time()
    of.replays()
    of.arrives(due_at=of.now - timedelta(hours=2))
    assert row(of.connection, "item_status", key="k").route_reason == "overdue"
    of.real_time()


def is_amended(of: ItemLife) -> None:
    is_on_time(of)
    of.replays()
    assert of.amended("more") == "amended"
    assert row(of.connection, "item_status").state == "answered"


def is_amended_out_of_order(of: ItemLife) -> None:
    of.arrives()
    assert of.amended("newest", of.now + timedelta(minutes=30)) == "amended"
    of.real_time()
    assert of.amended("older", of.now - timedelta(days=1)) == "outdated"
    assert row(of.connection, "item").payload == {"text": "newest"}


def is_canceled(of: ItemLife) -> None:
    of.arrives("before")
    of.real_time()
    of.arrives()
    asked = of.asks_real_time()
    items.cancel(of.connection, "letters", "k")
    save(of.connection, *(tried(each, at=of.now) for each in asked), now=of.passes())


def is_canceled_later(of: ItemLife) -> None:
    is_on_time(of)
    batch_id, asked = of.departs()
    assert items.cancel(of.connection, "letters", "k") == (
        "canceled" if of.mode == "Lambda" else "settled"
    )
    of.comes_back(batch_id, asked)


def is_replayed(of: ItemLife) -> None:
    is_on_time(of)
    of.batch()
    of.replays(always=True)


def is_replayed_and_taken_back(of: ItemLife) -> None:
    is_replayed(of)
    of.promoted()
    promotions.demote(of.connection, "letters", now=of.passes())
    of.replay = None


def is_shed(of: ItemLife) -> None:
    of.arrives()
    waiting = second_look.queue_tail(of.connection, ["letters"], now=NOON).waiting
    down = Shed("the model has not answered for a while")
    assert (
        second_look.shed(of.connection, {each.id: down for each in waiting}, now=of.passes()) == 1
    )
    of.batch()


def falls_back(of: ItemLife) -> None:
    of.arrives()
    of.real_time(Outcome.ERRORED)
    assert row(of.connection, "item_status").route_reason == "fallback"
    of.batch()


def is_rescued(of: ItemLife) -> None:
    workloads.set_split(of.connection, Split("letters", None, 0), who="ada", why="", now=of.now)
    of.arrives(due_at=late.DUE)
    batch_id, asked = of.departs()
    of.now = late.LATE
    assert late.rescue(of.connection) == 1
    of.real_time()
    of.comes_back(batch_id, asked)


LIVES: dict[str, Callable[[ItemLife], None]] = {
    "on time": is_on_time,
    "out of order": is_out_of_order,
    "late": is_late,
    "amended": is_amended,
    "amended out of order": is_amended_out_of_order,
    "cancelled before its answer": is_canceled,
    "cancelled after its answer": is_canceled_later,
    "shed": is_shed,
    "fallen back": falls_back,
    "rescued": is_rescued,
    "replayed": is_replayed,
    "replayed, and taken back": is_replayed_and_taken_back,
}
ROWS = {name: cells for name, *cells in table("concepts/lanes-and-items.md", headed="the item is")}


def test_the_page_and_this_test_have_the_same_rows() -> None:
    assert list(ROWS) == list(LIVES)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LIVES)
def test_a_row_of_the_page_states_the_real_outcome(
    connection: Connection, name: str, mode: str
) -> None:
    life = ItemLife(connection, mode)
    LIVES[name](life)
    assert life.ends() == ROWS[name][1 + MODES.index(mode)].replace("`", "")
