"""What is wrong stands in a run's log once, until it changes or is over."""

from prefect.logging import get_run_logger


class Troubles:
    """The troubles of one loop, each under a name."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def met(self, name: str, trouble: str) -> None:
        """The trouble stands in the log; one that was said before and has not changed is not repeated."""
        if self._said.get(name) != trouble:
            self._said[name] = trouble
            get_run_logger().warning("%s", trouble)

    def over(self, name: str) -> None:
        """When it is met again, it is news."""
        self._said.pop(name, None)


def described(error: BaseException) -> str:
    """What happened, in a line: its kind and, if it says anything, the first line of what it says."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
