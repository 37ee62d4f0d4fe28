"""What an author wrote and nobody can read: where its first fault is, and what the parser says of it."""


class Misread(ValueError):
    """A text that is not what it should be; `line` and `column` count from 1, and are None where the parser names no place."""

    def __init__(
        self, what: str, words: str, *, line: int | None = None, column: int | None = None
    ) -> None:
        self.words = words
        self.place = "" if line is None else f"line {line}, column {column}"
        super().__init__(f"{what}: " + (f"{self.place}: " if self.place else "") + words)

    def of_field(self, name: str) -> str:
        """The fault as its author looks for it: the field, the place in it, the parser's words."""
        return f"{name}, {self.place}: {self.words}" if self.place else f"{name}: {self}"
