"""Each command says what it does, shows how it is called, and what its exit code means."""

import pytest

from lanes.cli import app


@pytest.mark.parametrize("name", ["results", "depart", "url", "psql"])
def test_help_has_an_example_and_the_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app([name, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count(f"lanes {name}") > 1  # besides the usage
    assert "xit code" in said
