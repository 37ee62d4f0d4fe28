"""A runner of notebooks that works as Jupyter does: it runs the cells in one namespace, with top-level `await`.

    python -m tests.notebooks docs/notebooks/results.ipynb

runs the notebook on the stand of this checkout, and writes the outputs of its cells into it.
"""

import ast
import asyncio
import inspect
import io
import json
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import Any

LAST = "_"  # the name for the value of a cell's last expression


@dataclass(frozen=True)
class CellOutput:
    """The printed text of a cell, and the value of its last expression, or None if it has none."""

    printed: str
    value: Any


async def run(notebook: Path) -> list[CellOutput]:
    """Run the notebook and return the output of each code cell; exceptions of cells propagate."""
    cells = [
        each for each in json.loads(notebook.read_text())["cells"] if each["cell_type"] == "code"
    ]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    return [
        await _run("".join(each["source"]), namespace, f"{notebook.name}, cell {n}")
        for n, each in enumerate(cells, 1)
    ]


async def _run(source: str, namespace: dict[str, Any], name: str) -> CellOutput:
    tree = ast.parse(source, name)
    namespace[LAST] = None
    if tree.body and isinstance(last := tree.body[-1], ast.Expr):
        tree.body[-1] = ast.copy_location(
            ast.Assign([ast.Name(LAST, ast.Store())], last.value), last
        )
    code = compile(ast.fix_missing_locations(tree), name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with redirect_stdout(io.StringIO()) as out:
        awaited = eval(code, namespace)
        if inspect.iscoroutine(awaited):
            await awaited
    return CellOutput(out.getvalue(), namespace[LAST])


def renew(notebook: Path) -> None:
    """Write the current outputs into the notebook."""
    shown = asyncio.run(run(notebook))
    whole = json.loads(notebook.read_text())
    for number, (cell, each) in enumerate(
        zip((c for c in whole["cells"] if c["cell_type"] == "code"), shown, strict=True), 1
    ):
        cell["execution_count"] = number
        cell["outputs"] = list(_outputs(number, each))
    notebook.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def _outputs(number: int, shown: CellOutput) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if shown.printed:
        found.append(
            {
                "output_type": "stream",
                "name": "stdout",
                "text": shown.printed.splitlines(keepends=True),
            }
        )
    if shown.value is not None:
        data = {"text/plain": pformat(shown.value).splitlines(keepends=True)}
        found.append(
            {
                "output_type": "execute_result",
                "execution_count": number,
                "data": data,
                "metadata": {},
            }
        )
    return found


if __name__ == "__main__":
    renew(Path(sys.argv[1]))
