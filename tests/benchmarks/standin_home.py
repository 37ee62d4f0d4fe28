"""The provider's stand-in as a process of its own, with its deterministic engine, in a folder of its own."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anthropic_standin.testing import EndpointProcess, running_endpoint


@contextmanager
def standin(**options: float) -> Iterator[EndpointProcess]:
    """Run a stand-in that answers at once, unless `options` say otherwise (as `latency_s=0.2`)."""
    given = {"turnaround_s": 0.0, **options}
    words = [
        word
        for name, value in given.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    with (
        tempfile.TemporaryDirectory(prefix="lanes-bench-", ignore_cleanup_errors=True) as home,
        running_endpoint(Path(home), "--engine", "echo", *words) as endpoint,
    ):
        yield endpoint
