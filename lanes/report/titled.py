"""A table of the terminal below its title: one that is wider than its table stays one line."""

from rich.table import Table
from rich.text import Text


def titled(table: Table) -> tuple[Text, Table]:
    """The title in bold, and the table without it; a terminal wraps a table's own title to the table's width."""
    title, table.title = str(table.title), None
    return Text(title, style="bold"), table
