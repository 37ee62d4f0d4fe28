"""What is wrong stands in a run's log once, until it changes or is over."""

from prefect.logging import get_run_logger


class Troubles:
    """The troubles of one loop, each under a name."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def met(self, name: str, trouble: str) -> None:
        """Log the trouble, unless it was logged before and has not changed."""
        if self._said.get(name) != trouble:
            self._said[name] = trouble
            get_run_logger().warning("%s", trouble)

    def over(self, name: str) -> None:
        """Forget the trouble, so that it is logged when it occurs again."""
        self._said.pop(name, None)


def described(error: BaseException) -> str:
    """Describe an error in a line: its kind and the first line of its text."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
