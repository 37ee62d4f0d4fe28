"""An account has a name: what was left unresolved under the hash of a key is found under it, whatever the key is now."""

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection

from blocks.provider import Provider
from lanes.ids import BatchId
from lanes.store.batch import accounts, adoption, creates, homecoming
from lanes.words import Lane
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.store.tries import intend, row, rows

OLD, NEW = (Provider(api_key=SecretStr(key)) for key in ("old", "new"))


def intended(connection: Connection, account: str, *names: str) -> BatchId:
    """A batch of those items whose create brought no answer."""
    letters = publish(connection, now=NOON)
    admit(connection, *names, now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    return intend(connection, letters, account=account)[0]


def name(connection: Connection, block: Provider = NEW) -> int:
    return accounts.name_account(
        connection, block.account, formerly=block.unnamed_account, now=NOON
    )


def test_the_account_is_named_after_the_host_unless_somebody_names_it() -> None:
    assert (OLD.account, NEW.account) == ("api.anthropic.com", "api.anthropic.com")
    assert (
        Provider(api_key=SecretStr("x"), base_url="http://127.0.0.1:8080/").account == "127.0.0.1"
    )
    assert Provider(api_key=SecretStr("x"), account=" research ").account == "research"
    assert (
        OLD.given_account,
        Provider(api_key=SecretStr("x"), account="research").given_account,
    ) == ("", "research")
    assert OLD.unnamed_account != NEW.unnamed_account


@pytest.mark.parametrize("block", [OLD, NEW])
def test_an_intent_of_before_accounts_had_names_is_found_by_the_key_of_then_and_after_its_rotation(
    connection: Connection, block: Provider
) -> None:
    batch_id = intended(connection, OLD.unnamed_account, "a", "b")
    assert name(connection, block) == 1
    (found,) = adoption.to_search(connection, block.account, now=NOON)
    assert (found.id, found.account) == (batch_id, "api.anthropic.com")
    assert name(connection, block) == 0


def test_of_two_named_accounts_each_takes_only_the_batches_of_its_own_key(
    connection: Connection,
) -> None:
    research = Provider(api_key=SecretStr("new"), account="research")
    intended(connection, "production", "a")
    intended(connection, OLD.unnamed_account, "b")
    intended(connection, research.unnamed_account, "c")
    assert name(connection, research) == 1
    assert [each.account for each in rows(connection, "batch")] == [
        "production",
        OLD.unnamed_account,
        "research",
    ]


def test_what_several_keys_left_unresolved_is_held_where_one_account_could_not_have_it(
    connection: Connection,
) -> None:
    older = intended(connection, "key:1", "a", "b")
    same_count = intended(connection, "key:2", "c", "d")
    newest = intended(connection, "key:3", "e")
    assert name(connection) == 2
    states = {each.id: (each.state, each.account) for each in rows(connection, "batch")}
    assert states == {
        newest: ("intended", NEW.account),
        same_count: ("held", NEW.account),
        older: ("held", "key:1"),
    }
    assert {each.state for each in rows(connection, "work")} == {"submitted"}
    assert len(rows(connection, "incident_log", state="open")) == 2
    assert name(connection) == 0


def test_batches_that_are_over_are_named_too(connection: Connection) -> None:
    batch_id = intended(connection, OLD.unnamed_account, "a")
    creates.submitted(connection, batch_id, "msgbatch_1", expected_end_at=NOON, now=NOON)
    homecoming.collected(connection, batch_id, now=NOON)
    assert name(connection) == 1
    assert row(connection, "batch").account == NEW.account
