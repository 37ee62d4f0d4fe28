"""The entry point of a run's process: Prefect's engine, which loads a fifth faster with rare garbage collection.

`python -m flows --waits` loads the modules that a run of `answer` needs. It then waits for a JSON line on standard input with
the environment and the working directory of its run (`tasks/worker.py`).
"""

import json
import os
import runpy
import sys

from lanes import collect_garbage_seldom


def wait() -> None:
    """Load the modules of `answer`, then wait for the run; exit if standard input closes, because the worker has ended."""
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
