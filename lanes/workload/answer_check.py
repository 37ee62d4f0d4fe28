"""Whether an answer satisfies an output schema (draft 2020-12)."""

from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator, ValidationError


class AnswerCheck:
    """Checks answers against one schema.

    `jsonschema_rs` lets right answers through, some hundred times as fast as `jsonschema`. This one has the last word of any
    other, because its words are those that people read, and alone judges by a schema that the first cannot compile.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._validator = Draft202012Validator(schema)
        try:
            self._is_right = jsonschema_rs.Draft202012Validator(schema, offline=True).is_valid
        except ValueError:  # such as for a pattern that only Python reads
            self._is_right = self._validator.is_valid

    def first_fault(self, answer: Any) -> ValidationError | None:
        """The first rule that the answer breaks; None when it satisfies the schema."""
        return None if self._is_right(answer) else next(iter(self._validator.iter_errors(answer)), None)
