"""The process that a worker starts for each run: Prefect's engine, whose packages load in four fifths of the time.

`python -m flows --waits` loads what a run of `answer` needs, and then waits for a line that says where its run begins
(`tasks/worker.py`).
"""

import json
import os
import runpy
import sys

from lanes import collect_garbage_seldom


def wait() -> None:
    """Load what a run of `answer` needs, then wait for the run, and end if the worker that started this process has ended."""
    import prefect.engine
    import prefect.flow_engine  # noqa: F401

    import flows.answer  # noqa: F401 # pyright: ignore[reportUnusedImport]
    from lanes.provider.client import load

    load()
    if not (line := sys.stdin.readline()):
        sys.exit()
    begins = json.loads(line)
    os.environ.clear()
    os.environ.update(begins["env"])
    os.chdir(begins["cwd"])


collect_garbage_seldom()
if sys.argv[1:]:
    wait()
    del sys.argv[1:]
runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
