"""How often a process looks for cyclic garbage. What loads packages, does something and ends has next to none of it."""

import atexit
import gc


def seldom() -> None:
    """From now on it is looked for seldom, and not once more through everything as the process ends.

    While packages load, looking took a fifth of the time; at the end of `lanes status` it took as long as all of its figures.
    """
    gc.set_threshold(20_000, 20, 100)
    atexit.register(gc.freeze)
