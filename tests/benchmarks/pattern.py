"""The rows that Lanes wrote for some items, as a pattern for the floor, and a check that the floor wrote the same."""

from collections.abc import Sequence

import psycopg

from tests.benchmarks.stored_rows import NULL, Stored, Values, differences, read, summed_up, tables

OF_ITEMS = ("item", "route", "work", "response", "attempt", "result")
BEFORE = {  # the values of a row until its item is answered
    "item": {"result_id": NULL, "answered_at": NULL, "settled_at": NULL},
    "work": {"state": b"ready", "claim_no": b"0", "finished_at": NULL, "open": b"t"},
}


class RowPattern:
    """The rows of a database of Lanes. Values of columns in `leaving` may differ: others assign them."""

    def __init__(self, url: str, *, leaving: Sequence[str] = ()) -> None:
        self._leaving = leaving
        with psycopg.connect(url) as connection:
            self._summed_up = summed_up(connection, leaving)
            self.stored = {name: read(connection, name, order_by="id") for name in OF_ITEMS}
            self.others = [
                read(connection, name, order_by="1, 2")
                for name in tables(connection)
                if name not in OF_ITEMS
            ]
        self.item = self.stored["item"]
        place = self.item.place("id")
        self.ids = [row[place] for row in self.item.rows]
        self.of_item = {
            name: _by(self.stored[name], "item_id")
            for name in ("route", "work", "attempt", "result")
        }
        messages = _by(self.stored["response"], "message_id")
        message = self.stored["attempt"].place("message_id")
        self.of_item["response"] = {
            id_: messages[row[message]] for id_, row in self.of_item["attempt"].items()
        }

    def grown(self, connection: psycopg.Connection) -> list[Stored]:
        """Return the other tables with the rows that Lanes added: the value in their first column is new."""
        found: list[Stored] = []
        for each in self.others:
            known = {row[0] for row in read(connection, each.name, order_by="1").rows}
            if added := [row for row in each.rows if row[0] not in known]:
                found.append(Stored(each.name, each.columns, added))
        return found

    def check(self, url: str) -> None:
        """Compare the database at `url` with the database of Lanes.

        Raises:
            AssertionError: a table has other rows, or a column other values.
        """
        with psycopg.connect(url) as connection:
            found = differences(self._summed_up, summed_up(connection, self._leaving))
        assert not found, "the floor did not write the same rows:\n" + "\n".join(found)


def before(of: Stored, row: Values) -> Values:
    """Return the row as it was before its item was answered."""
    fresh = [*row]
    for name, value in BEFORE[of.name].items():
        if name in of.columns:
            fresh[of.place(name)] = value
    return fresh


def _by(of: Stored, column: str) -> dict[bytes, Values]:
    place = of.place(column)
    found = {row[place]: row for row in of.rows}
    assert len(found) == len(of.rows), (
        f"an item has several rows in {of.name}: the floor knows of one"
    )
    return found
