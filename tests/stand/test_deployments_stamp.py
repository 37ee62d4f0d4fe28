"""Deploying is skipped exactly when nothing could come out differently."""

from pathlib import Path

import pytest

from lanes.stand.steps import is_current, remember, source_digest

PRESENT = {"answer": "1", "depart": "2"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "answer.py").write_text("one")
    (tmp_path / "prefect.yaml").write_text("deployments: []")
    return tmp_path


def test_the_same_source_in_the_same_prefect_is_current(checkout: Path) -> None:
    stamp = checkout / "stamp"
    assert not is_current(stamp, source_digest(checkout), PRESENT)
    remember(stamp, source_digest(checkout), PRESENT)
    assert is_current(stamp, source_digest(checkout), {**PRESENT, "somebody-else-s": "3"})


@pytest.mark.parametrize("file", ["flows/answer.py", "prefect.yaml", "flows/new.py"])
def test_a_changed_or_new_file_is_not(checkout: Path, file: str) -> None:
    stamp = checkout / "stamp"
    remember(stamp, source_digest(checkout), PRESENT)
    (checkout / file).write_text("two")
    assert not is_current(stamp, source_digest(checkout), PRESENT)


@pytest.mark.parametrize("present", [{"answer": "1"}, {"answer": "1", "depart": "9"}, {}])
def test_a_deleted_deployment_or_another_database_is_not(
    checkout: Path, present: dict[str, str]
) -> None:
    stamp = checkout / "stamp"
    remember(stamp, source_digest(checkout), PRESENT)
    assert not is_current(stamp, source_digest(checkout), present)
