"""What a worker starts for each run: Prefect's engine, whose packages load in four fifths of the time.

While they load nothing becomes garbage, and the collector looks through everything again and again; so it looks seldom.
"""

import gc
import runpy

gc.set_threshold(20_000, 20, 100)
runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
