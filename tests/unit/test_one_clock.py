"""One clock: every stored time was read from the database by the transaction that writes it."""

import ast
import re
from pathlib import Path
from typing import TypeGuard

from tests.unit.modules import ROOT, modules

WALL_CLOCKS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "time.strftime",
    "time.ctime",
    "pendulum.now",
    "DateTime.now",
}
LAST_NAMES = {each.rpartition(".")[2] for each in WALL_CLOCKS}
ALLOWED = {
    "lanes/stand/supervisor.py": "its log tells this host's time, also while the database is away, and it compares the clocks"
}
HANDED_OUT = (
    "flows",
    "tasks",
    "blocks",
    "lanes/store",
)  # here the time comes from a transaction or from the caller
THE_CLOCK = "lanes/store/asking.py"
SQL_CLOCKS = ("now", "clock_timestamp", "transaction_timestamp", "statement_timestamp")
ASKED = re.compile(rf"\b({'|'.join(SQL_CLOCKS)})\(\)|\bcurrent_timestamp\b", re.IGNORECASE)

MOVED = re.compile(
    rf"\bupdate\b.*\bset\b.*({ASKED.pattern}|\binterval\b)", re.IGNORECASE | re.DOTALL
)


def wall_clocks(module: str) -> list[str]:
    """Return where a module reads the host's clock, under any imported name."""
    nodes = list(ast.walk(ast.parse(module)))
    imported = {
        alias.asname or alias.name: f"{node.module.rpartition('.')[2]}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    } | {
        alias.asname: alias.name
        for node in nodes
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.asname
    }

    def full(name: str) -> str:
        first, _, rest = name.partition(".")
        return ".".join(filter(None, [imported.get(first, first), rest]))

    def may_be_one(
        node: ast.AST,
    ) -> TypeGuard[ast.expr]:  # resolving every name would take seconds
        match node:
            case ast.Attribute(attr=name):
                return name in LAST_NAMES
            case ast.Name(id=name):
                return name in imported
            case _:
                return False

    named = (node for node in nodes if may_be_one(node))
    found = {(node.lineno, full(ast.unparse(node))) for node in named}
    return [
        f"{line}: {name}"
        for line, name in sorted(found)
        if ".".join(name.split(".")[-2:]) in WALL_CLOCKS
    ]


def statements_with_a_clock(module: str) -> list[int]:
    """Return the lines of a module on which a statement reads the database's clock."""

    def asks(node: ast.AST) -> bool:
        match node:
            case ast.Constant(value=str(said)):
                return ASKED.search(said) is not None
            case ast.Attribute(value=ast.Name(id="func"), attr=name):
                return name in SQL_CLOCKS
            case _:
                return False

    if not any(name in module.lower() for name in ("now()", "func.now", "_timestamp")):
        return []
    return [
        node.lineno
        for node in ast.walk(ast.parse(module))
        if isinstance(node, ast.expr) and asks(node)
    ]


def test_no_module_reads_the_hosts_clock() -> None:
    read = {
        str(path.relative_to(ROOT)): found
        for path in modules()
        if (found := wall_clocks(path.read_text()))
    }
    assert {
        path: found for path, found in read.items() if not path.startswith(tuple(ALLOWED))
    } == {}
    assert all(
        any(path.startswith(allowed) for path in read) for allowed in ALLOWED
    )  # every exception is needed


def test_the_databases_clock_is_read_in_one_place() -> None:
    asking = {
        str(path.relative_to(ROOT))
        for path in modules()
        if statements_with_a_clock(path.read_text())
    }
    assert asking == {THE_CLOCK}


def test_no_flow_task_block_or_store_module_imports_the_database_clock() -> None:
    """A test that advances time must advance every clock at once."""
    own = {
        str(path.relative_to(ROOT))
        for path in modules(HANDED_OUT)
        if "lanes.store.database" in (said := path.read_text())
        for node in ast.walk(ast.parse(said))
        if isinstance(node, ast.ImportFrom)
        and node.module == "lanes.store.database"
        and any(alias.name == "clock" for alias in node.names)
    }
    assert own == set()


def moved_time(module: str) -> list[int]:
    """Return the lines of a test that let time pass by rewriting stored rows."""
    if "update" not in module.lower():
        return []
    said = [
        (node.lineno, ast.unparse(node))
        for node in ast.walk(ast.parse(module))
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    ]
    return [line for line, text in said if MOVED.search(text)]


def test_no_test_moves_time_in_the_database() -> None:
    """Exclude the benchmarks: their floors are not tests and write what Lanes writes."""
    tests = {
        str(path.relative_to(ROOT)): moved_time(path.read_text())
        for path in modules(["tests"])
        if path != Path(__file__) and "benchmarks" not in path.parts
    }
    assert {path: lines for path, lines in tests.items() if lines} == {}
