"""What a run loads before it can begin: an event that wakes the real-time lane waits for all of it."""

import subprocess
import sys

import pytest

LATER = (
    "aiohttp",
    "alembic",
    "anthropic",
    "cel.cel",
    "genai_prices",
    "httpx2",
    "numpy",
    "scipy",
    "slack_sdk",
)


@pytest.mark.slow
def test_a_drain_begins_without_the_sdk_the_rules_and_the_prices_which_load_beside_what_it_does_first() -> (
    None
):
    program = f"import sys, flows.answer; print(*set({LATER}) & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
