"""In which order the tests of a session run."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import one_after_the_other


@pytest.mark.parametrize(
    ("named", "run"),
    [
        ("unit/a store/b", "unit/a store/b"),
        ("deployments/a docs/b e2e/c flows/d", "deployments/a e2e/c docs/b flows/d"),
        ("unit/z e2e/c store/b e2e/a deployments/d", "unit/z e2e/c e2e/a deployments/d store/b"),
    ],
)
def test_tests_of_the_shared_stand_follow_each_other(named: str, run: str) -> None:
    items: list[Any] = [SimpleNamespace(nodeid=f"tests/{each}.py::test") for each in named.split()]
    assert [each.nodeid for each in one_after_the_other(items)] == [
        f"tests/{each}.py::test" for each in run.split()
    ]
