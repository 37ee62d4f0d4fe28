"""Running steps in the order their needs allow, as many at once as that lets."""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from lanes.stand.progress import Progress
from lanes.stand.steps import Step
from lanes.stand.worksite import Site


def run_steps(steps: Sequence[Step], site: Site, progress: Progress) -> None:
    """Every step has run after those it needs. The first failure cancels the others and is raised.

    A need that is not among `steps` counts as met.
    """
    names = {step.name for step in steps}
    waiting = list(steps)
    running: dict[Future[None], Step] = {}
    done: set[str] = set()
    with ThreadPoolExecutor(max_workers=max(1, len(steps))) as pool:
        try:
            while waiting or running:
                for step in [s for s in waiting if not (set(s.after) & names) - done]:
                    waiting.remove(step)
                    running[pool.submit(_run, step, site, progress)] = step
                if not running:
                    raise ValueError(
                        f"steps wait for each other: {', '.join(s.name for s in waiting)}"
                    )
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    step = running.pop(future)
                    future.result()
                    done.add(step.name)
        except BaseException:
            site.canceled.set()
            raise


def _run(step: Step, site: Site, progress: Progress) -> None:
    site.check_canceled()
    progress.began(step.title)
    begin = time.monotonic()
    try:
        note = step.run(site)
    except BaseException:
        progress.failed(step.title, time.monotonic() - begin)
        raise
    progress.ended(step.title, note, time.monotonic() - begin)
