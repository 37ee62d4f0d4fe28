"""Versions are read as versions, never as stored specs by key: an older spec does not contain the fields added since."""

import ast
import re

import pytest

from tests.unit.modules import ROOT, modules

IN_FORCE = ROOT / "migrations" / "schema" / "current"
LOOKS = {
    "get",
    "items",
    "keys",
    "pop",
    "values",
    "setdefault",
    "as_string",
    "as_integer",
    "as_float",
    "as_boolean",
}
IN_SQL = re.compile(r"\bspec\s*(->|#>|@>|@\?|@@|\?|\[)|jsonb_\w+\s*\(\s*(\w+\.)?spec\b")
STORED = re.compile(r"\.c\.spec$")
ALLOWED = {"lanes/store/workload": "versions are published and read here, whole"}


def looks(module: str) -> list[str]:
    """Return where a module reads a spec by key, in Python or in the text of a query, or uses a stored spec."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(module)) if "spec" in module else ():
        match node:
            case ast.Subscript(value=of) if _is_spec(of):
                found.append((node.lineno, ast.unparse(node)))
            case ast.Call(func=ast.Attribute(value=of, attr=attr)) if attr in LOOKS and _is_spec(
                of
            ):
                found.append((node.lineno, ast.unparse(node)))
            case ast.Attribute() if STORED.search(ast.unparse(node)):
                found.append((node.lineno, ast.unparse(node)))
            case ast.Constant(value=str(text)) if in_sql(text):
                found.append((node.lineno, text))
            case _:
                pass
    return [f"{line}: {text}" for line, text in sorted(found)]


def _is_spec(node: ast.expr) -> bool:
    return ast.unparse(node).rpartition(".")[2] == "spec"


def in_sql(query: str) -> bool:
    """Return whether a query reads a spec by key."""
    return IN_SQL.search(query) is not None


@pytest.mark.slow
def test_no_module_reads_a_spec_by_key() -> None:
    found = {
        str(path.relative_to(ROOT)): seen for path in modules() if (seen := looks(path.read_text()))
    }
    assert {path: seen for path, seen in found.items() if not path.startswith(tuple(ALLOWED))} == {}
    assert all(
        any(path.startswith(allowed) for path in found) for allowed in ALLOWED
    )  # every exception is needed


def test_no_function_or_view_in_force_reads_a_spec_by_key() -> None:
    files = {
        path.relative_to(IN_FORCE).as_posix(): path.read_text() for path in IN_FORCE.rglob("*.sql")
    }
    assert "doors/screened.sql" in files
    assert [name for name, text in files.items() if in_sql(text)] == []
