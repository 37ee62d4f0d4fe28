"""What `docs/how-to/send-by-sql.md` has a role granted is enough for what it says that the role may do."""

import re

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from lanes.words import Lane
from tests.conftest import NOON
from tests.docs.blocks import DOCS
from tests.examples import admit, publish
from tests.store.tries import A, claimed_item, save, tried

PAGE = (DOCS / "how-to" / "send-by-sql.md").read_text()
ROLE, OF_ONE = "my_app", "may_do_this"
READS, SENDS, CHANGES = "-- to read through views", "-- to send", "-- to amend, withdraw and label, too"
RESULTS = "-- to read with read_result"

MAY = [
    (READS, "select * from lanes.current_results"),
    (READS, "select * from lanes.item_status"),
    (SENDS, """select lanes.submit('letters', '{"text": "new"}', 'new', urgent => true)"""),
    (SENDS, """select lanes.submit('letters', '{"text": "another"}', 'answered')"""),
    (SENDS, """select lanes.submit('nobody', '{"text": "new"}', 'new')"""),
    (SENDS, """select * from lanes.submit_many('letters', '[{"payload": {"text": "new"}, "key": "new"}]')"""),
    (CHANGES, """select lanes.amend('letters', 'waits', '{"text": "more"}')"""),
    (CHANGES, """select lanes.amend('letters', 'answered', '{"text": "more"}')"""),
    (CHANGES, """select lanes.amend('letters', 'not there yet', '{"text": "more"}')"""),
    (CHANGES, """select lanes.label('letters', 'answered', '{"category": "bill"}', 'a person')"""),
    (CHANGES, "select lanes.cancel('letters', 'waits')"),
    (RESULTS, "select * from lanes.read_result('letters', 'answered', 'a reader')"),
]  # fmt: skip


def granted(what: str) -> list[str]:
    """The statements below that remark of the page, to a role of the test."""
    found = re.search(rf"^{re.escape(what)}\n(.*?)^(?:--|```)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, what
    return [each.replace(ROLE, OF_ONE) for each in found[1].split(";") if each.strip()]


@pytest.fixture
def role(connection: Connection) -> str:
    """A role that may see the schema, beside items that wait and that are answered."""
    publish(connection, now=NOON)
    admit(connection, "answered", "waits", now=NOON, lane=Lane.REALTIME)
    save(connection, tried(claimed_item(connection, "answered"), output=A))
    connection.execute(text(f"create role {OF_ONE}"))
    connection.execute(text(f"grant usage on schema lanes to {OF_ONE}"))
    return OF_ONE


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])  # as a session plans first, and after some calls
@pytest.mark.parametrize(("what", "call"), MAY)
def test_what_a_role_is_granted_is_enough(connection: Connection, role: str, what: str, call: str, plans: str) -> None:
    for each in granted(SENDS) if what == CHANGES else ():
        connection.execute(text(each))
    for each in granted(what):
        connection.execute(text(each))
    connection.execute(text("discard plans"))
    connection.execute(text(f"set local plan_cache_mode = {plans}"))
    connection.execute(text(f"set local role {role}"))
    connection.execute(text(call)).all()


@pytest.mark.parametrize(("what", "call"), MAY)
def test_without_it_nothing_is_done(connection: Connection, role: str, what: str, call: str) -> None:
    connection.execute(text(f"set local role {role}"))
    with pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text(call)).all()
