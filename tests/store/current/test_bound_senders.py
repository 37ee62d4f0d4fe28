"""Two logins that send, each bound to a consumer: neither sends for the other, changes its items or learns of them."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

TEXT = '{"text": "desk"}'  # the payload of the item of consumer desk
ONE = "select outcome, detail from lanes.submit_item('twofold', cast(:payload as jsonb), :key, consumer => :consumer)"
MANY = """
select outcome, detail from lanes.submit_many('twofold', jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
  'payload', cast(:payload as jsonb), 'key', cast(:key as text), 'consumer', cast(:consumer as text)))))
"""
SAID = 'login "app_shop" may send for consumer "shop" only: name it as "consumer", or ask an operator for lanes roles --tenant'


@pytest.fixture
def shop(opened: dict[str, Connection]) -> Iterator[Connection]:
    """Yield the session of the login that is bound to consumer shop."""
    yield opened["app_shop"]
    opened["app_shop"].rollback()


def call(connection: Connection, function: str, *arguments: str) -> Any:
    given = {f"a{number}": each for number, each in enumerate(arguments)}
    names = ", ".join(f":{each}" for each in given)
    return connection.execute(text(f"select lanes.{function}('twofold', {names})"), given).scalar()


@pytest.mark.parametrize("door", [ONE, MANY], ids=["one", "many"])
@pytest.mark.parametrize(
    ("consumer", "outcome"),
    [("shop", "accepted"), ("desk", "foreign_consumer"), (None, "foreign_consumer")],
)
def test_a_bound_login_may_send_only_for_its_own_consumer(
    shop: Connection, door: str, consumer: str | None, outcome: str
) -> None:
    about = {"payload": "{}", "key": "new", "consumer": consumer}
    told = shop.execute(text(door), about).one()
    assert tuple(told) == (outcome, None if outcome == "accepted" else SAID)


@pytest.mark.parametrize("door", [ONE, MANY], ids=["one", "many"])
def test_a_bound_login_learns_nothing_about_the_payload_of_another_consumers_item(
    shop: Connection, door: str
) -> None:
    told = [
        shop.execute(text(door), {"payload": said, "key": "desk item", "consumer": "shop"}).one()
        for said in (TEXT, '{"text": "something else"}')
    ]
    assert told[0] == told[1]
    assert told[0].outcome == "key_conflict"


def test_a_bound_login_can_neither_change_nor_detect_items_of_another_consumer(
    shop: Connection,
) -> None:
    for key in ("desk item", "nowhere"):
        assert call(shop, "cancel", key) == "unknown_item"
        assert shop.execute(
            text("select lanes.label('twofold', :key, '{\"category\": \"x\"}')"), {"key": key}
        ).scalar_one() == ("unknown_item")
        amended = text("select lanes.amend('twofold', :key, '{\"text\": \"x\"}')")
        assert shop.execute(amended, {"key": key}).scalar_one() == "unknown_item"


def test_a_bound_login_can_change_its_own_items(shop: Connection) -> None:
    submitted = {"payload": "{}", "key": "mine", "consumer": "shop"}
    for outcome in ("accepted", "duplicate"):
        assert shop.execute(text(ONE), submitted).one().outcome == outcome
        assert shop.execute(text(MANY), submitted).one().outcome == "duplicate"
    amended = text("select lanes.amend('twofold', 'mine', '{\"text\": \"x\"}')")
    assert shop.execute(amended).scalar_one() == "amended"
    labeled = text("select lanes.label('twofold', 'mine', '{\"category\": \"x\"}')")
    assert shop.execute(labeled).scalar_one() == "labeled"
    assert call(shop, "cancel", "mine") == "canceled"


def test_a_bound_login_cannot_add_items_to_a_job_of_another_consumer(
    opened: dict[str, Connection], shop: Connection
) -> None:
    submitted = text(
        "select outcome from lanes.submit_item('twofold', '{}', :key, consumer => :consumer, job => 'daily')"
    )
    desk = opened["app_desk"]
    assert desk.execute(submitted, {"key": "a", "consumer": "desk"}).scalar_one() == "accepted"
    desk.commit()
    told = shop.execute(submitted, {"key": "b", "consumer": "shop"}).scalar_one()
    assert told == "job_conflict"
    assert desk.execute(submitted, {"key": "c", "consumer": "desk"}).scalar_one() == "accepted"
    desk.rollback()


def test_a_login_whose_consumers_were_removed_may_send_for_none(
    opened: dict[str, Connection], shop: Connection
) -> None:
    admin = opened["admin"]
    taken = "update lanes.tenant set consumer = '' where login = 'app_shop'"
    bound = "update lanes.tenant set consumer = 'shop' where login = 'app_shop'"
    admin.execute(text(taken))
    admin.commit()
    try:
        told = shop.execute(text(ONE), {"payload": "{}", "key": "new", "consumer": "shop"}).one()
    finally:
        shop.rollback()
        admin.execute(text(bound))
        admin.commit()
    assert told.outcome == "foreign_consumer"
    assert told.detail.startswith('login "app_shop" may send for no consumer; ask')
