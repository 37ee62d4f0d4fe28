"""The notebook in docs/ runs from top to bottom on a stand that is up."""

from pathlib import Path

import pytest

from tests.notebooks import run
from tests.running_stand import RunningStand

pytestmark = pytest.mark.slow


async def test_the_notebook_runs_from_top_to_bottom(
    stand: RunningStand, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("LANES_HOME", "LANES_DATABASE_URL"):
        monkeypatch.setenv(variable, stand.environment[variable])
    _, sent, followed, waited, rows, sums, wrong, _ = await run(
        checkout / "docs/notebooks/results.ipynb"
    )
    assert sum(sent.value.values()) == 3
    assert {line.split()[0] for line in followed.printed.splitlines()} == {
        f"notebook-{n}" for n in (1, 2, 3)
    }
    assert waited.value.key == "notebook-1"
    assert [row["lane"] for row in rows.value] == ["realtime"] * 3
    assert "USD in all" in sums.printed
    assert wrong.printed.startswith('UnknownItem: workload "tickets" has no item "no-such-key"')
