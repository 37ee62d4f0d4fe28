"""The modules that a run loads before it can begin: an event that wakes the real-time lane waits for all of them."""

import subprocess
import sys

import pytest

SDK = ("aiohttp", "anthropic")
LATER = (*SDK, "alembic", "cel.cel", "genai_prices", "httpx2", "numpy", "scipy", "slack_sdk")


def loaded(flow: str, *modules: str) -> list[str]:
    """Return which of these modules the import of a flow loads."""
    program = f"import sys, flows.{flow}; print(*set({modules}) & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.slow
def test_a_drain_begins_without_loading_the_sdk_the_rules_and_the_prices() -> None:
    assert loaded("answer", *LATER) == []


@pytest.mark.slow
@pytest.mark.parametrize("flow", ["collect", "watch"])
def test_a_standing_run_begins_without_loading_the_sdk(
    flow: str,
) -> None:
    assert loaded(flow, *SDK) == []
