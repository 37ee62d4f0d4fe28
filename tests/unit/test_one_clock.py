"""One clock: what is written down of time was read from the database, by the transaction that writes it."""

import ast

import pytest

from tests.unit.modules import ROOT, modules

WALL_CLOCKS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns", "time.localtime",
    "time.gmtime", "time.strftime", "time.ctime", "pendulum.now", "DateTime.now",
}  # fmt: skip
ALLOWED = {
    "lanes/standin": "it plays the provider, whose clock is its own",
    "lanes/stand/supervisor.py": "the lines of its log tell this host's time, also while the database is away",
}


def wall_clocks(module: str) -> list[str]:
    """Where a module reads the host's clock, however it imported it."""
    tree = ast.parse(module)
    imported = {
        alias.asname or alias.name: f"{node.module.rpartition('.')[2]}.{alias.name}"
        for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    } | {
        alias.asname: alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
        for alias in node.names if alias.asname
    }  # fmt: skip

    def full(name: str) -> str:
        first, _, rest = name.partition(".")
        return ".".join(filter(None, [imported.get(first, first), rest]))

    named = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name))
    found = {(node.lineno, full(ast.unparse(node))) for node in named}
    return [f"{line}: {name}" for line, name in sorted(found) if ".".join(name.split(".")[-2:]) in WALL_CLOCKS]


def test_no_module_reads_the_hosts_clock() -> None:
    read = {
        str(path.relative_to(ROOT)): found
        for path in modules() if (found := wall_clocks(path.read_text()))
    }  # fmt: skip
    assert {path: found for path, found in read.items() if not path.startswith(tuple(ALLOWED))} == {}
    assert all(any(path.startswith(allowed) for path in read) for allowed in ALLOWED)  # none is allowed in vain


@pytest.mark.parametrize(
    "module",
    [
        "from datetime import UTC, datetime\nat = datetime.now(UTC)",
        "import datetime as dt\nat = dt.datetime.utcnow()",
        "from time import time as seconds\nat = seconds()",
        "import time\nread = time.time",
    ],
)
def test_the_hosts_clock_is_found_however_it_is_imported(module: str) -> None:
    assert len(wall_clocks(module)) == 1


def test_a_span_on_this_host_is_no_wall_clock() -> None:
    assert wall_clocks("import time\nfrom datetime import datetime\nbegan = time.monotonic()\nat: datetime") == []
