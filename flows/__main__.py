"""What a worker starts for each run: Prefect's engine, whose packages load in four fifths of the time."""

import runpy

from lanes import collect_garbage_seldom

collect_garbage_seldom()
runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
