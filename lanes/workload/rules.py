"""CEL rules over an item: `payload`, `age_s`, `due_in_s` (null without a due time), `consumer`."""

import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

from lanes.errors import RuleFailed
from lanes.misread import Misread

FAULT = re.compile(r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): (?:Syntax error: )?(?P<words>.+)")
BINDS = re.compile(r"\.(?:all|exists|exists_one|filter|map)\(\s*(\w+)\s*,")  # CEL's macros name a variable
PAYLOAD = re.compile(r"\bpayload\b")
FIELD = re.compile(r"\bpayload\s*\.\s*(\w+)\b(?!\s*\()")  # and not a function of the payload as a whole
VARIABLES = ("payload", "age_s", "due_in_s", "consumer")


@cache
def _cel() -> Any:
    """The module `cel.cel`, all that a rule needs: the package around it loads a terminal's toolkit for its command."""
    package = find_spec("cel")
    found = package and PathFinder.find_spec("cel.cel", package.submodule_search_locations)
    assert found is not None
    assert found.loader is not None
    if found.name not in sys.modules:
        sys.modules[found.name] = module_from_spec(found)
        found.loader.exec_module(sys.modules[found.name])
    return sys.modules[found.name]


class Rule:
    """A compiled expression.

    Raises:
        Misread: the text is not CEL.
        ValueError: it reads a variable that rules do not have; the message says which.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._program = _cel().compile(text)
        except ValueError as error:
            raise _misread(str(error)) from None
        bound = set(BINDS.findall(text))
        self._variables = set(self._program.variables())
        self._fields = _fields_read(text)
        self._others = [name for name in VARIABLES if name != "payload" and name in self._variables]
        unknown = sorted(self._variables - bound - set(VARIABLES))
        if unknown:
            raise ValueError(f"`{text}` reads {', '.join(unknown)}; rules have {', '.join(VARIABLES)}")

    def reads(self, variable: str) -> bool:
        """Whether it looks at one of the `VARIABLES`."""
        return variable in self._variables

    def holds(self, variables: Mapping[str, Any]) -> bool:
        """Whether the rule is true of an item.

        Raises:
            RuleFailed: it reads a field the item lacks, cannot be computed, or is not a boolean.
        """
        value = self.value(variables)
        if not isinstance(value, bool):
            raise RuleFailed(f"`{self.text}` gives {type(value).__name__}, not true or false")
        return value

    def value(self, variables: Mapping[str, Any]) -> Any:
        """What the expression gives for an item.

        Raises:
            RuleFailed: it reads a field the item lacks, or cannot be computed.
        """
        try:
            return self._program.execute(self._read_of(variables))
        except KeyError as error:
            raise RuleFailed(f"`{self.text}` reads {error}, which this item lacks; guard it with has()") from None
        except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise RuleFailed(f"`{self.text}` failed: {error}") from None

    def _read_of(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The variables without what the rule does not look at: an evaluation first copies whatever it is given."""
        read = {name: variables[name] for name in self._others}
        if "payload" in self._variables:
            payload = variables["payload"]
            if self._fields is not None and payload is not None:
                payload = {name: payload[name] for name in self._fields if name in payload}
            read["payload"] = payload
        return read


class Pair:
    """Two rules that are asked of an item at once: an evaluation costs about as much for both as for one."""

    def __init__(self, first: Rule, second: Rule) -> None:
        self._asked = Rule(f"[(\n{first.text}\n), (\n{second.text}\n)]")  # a comment ends with its line

    def hold(self, variables: Mapping[str, Any]) -> tuple[bool, bool] | None:
        """Whether each of them is true of an item; None where one cannot tell: each is asked by itself then."""
        try:
            first, second = self._asked.value(variables)
        except RuleFailed:
            return None
        return (first, second) if isinstance(first, bool) and isinstance(second, bool) else None


def _fields_read(text: str) -> list[str] | None:
    """The fields of a payload that an expression can look at; None: perhaps all of them."""
    fields = FIELD.findall(text)
    return fields if len(fields) == len(PAYLOAD.findall(text)) else None


def _misread(said: str) -> Misread:
    """By the first fault that the parser names."""
    what, fault = "not a CEL expression", FAULT.search(said)
    if fault is None:
        return Misread(what, said.removeprefix("Failed to parse expression "))
    return Misread(what, fault["words"], line=int(fault["line"]), column=int(fault["column"]))
