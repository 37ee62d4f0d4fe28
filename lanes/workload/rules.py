"""CEL rules over an item: `payload`, `age_s`, `due_in_s` (null without a due time), `consumer`.

An evaluation holds the interpreter's lock, so its cost is bounded before it begins: by the expression (`rule_cost`) and the
size of its input, and for patterns by the length of the texts that they are compared with.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from itertools import pairwise
from typing import Any

from lanes.errors import RuleFailed
from lanes.workload import rule_cost
from lanes.workload.rule_cost import Token, TooComplex
from lanes.workload.schemas import pattern

FAULT = re.compile(
    r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): (?:Syntax error: )?(?P<words>.+)"
)
# Finds the variables that CEL's macros bind.
BINDS = re.compile(r"\.(?:all|exists|exists_one|filter|map)\(\s*(\w+)\s*,")
MOST_CHARACTERS = 4_096  # of a rule
MOST_UNITS = 200_000  # units of `rule_cost` for one evaluation: 60 ms at most
LEAST_INPUT = 50  # values that a rule must be able to read
MOST_INPUT = 1 << 24
# Characters of texts times KiB of their patterns in one evaluation: 0.3 s at worst, usually 2 ms.
MOST_COMPARED = 2_000_000
# Our replacement of `matches`, because CEL's own compiles a pattern each time. Equal lengths keep the columns of faults.
MATCHES, OURS = "matches", "_match_"
FIELD = r"\b{}\s*\.\s*(\w+)\b(?!\s*\()"  # a field of the object, not a method call on the object
VARIABLES = ("payload", "age_s", "due_in_s", "consumer")
OF_ANSWERS = ("output",)


@cache
def _cel() -> Any:
    """Return the module `cel.cel` without its package, which loads a toolkit for terminals."""
    package = find_spec("cel")
    spec = package and PathFinder.find_spec("cel.cel", package.submodule_search_locations)
    assert spec is not None
    assert spec.loader is not None
    if spec.name not in sys.modules:
        sys.modules[spec.name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[spec.name])
        logging.getLogger("cel").disabled = True  # it also logs the errors that it raises
    return sys.modules[spec.name]


class RuleSyntaxError(ValueError):
    """A text that is not a CEL expression; `place` is the place of the first fault, empty if the parser gives none."""

    def __init__(self, words: str, place: str = "") -> None:
        self.words, self.place = words, place
        super().__init__(f"not a CEL expression: {f'{place}: ' if place else ''}{words}")

    def name_field(self, name: str) -> str:
        """Return the fault with the name of its field."""
        return f"{name}, {self.place}: {self.words}" if self.place else f"{name}: {self}"


class Rule:
    """A compiled expression over `variables`; the first variable is an object.

    Raises:
        RuleSyntaxError: the text is not CEL.
        ValueError: it reads an unknown variable; the message names it.
    """

    def __init__(self, text: str, variables: Sequence[str] = VARIABLES) -> None:
        self.text, self._known = text, variables
        self._too_complex, self._most, self._program = "", 0, None
        self._variables, self._matches = set[str](), list[Token]()
        self.fields, self._others = None, list[str]()
        try:
            self._compile(text)
        except TooComplex as error:
            self._too_complex = str(error)

    def _compile(self, text: str) -> None:
        if len(text) > 3 * MOST_CHARACTERS:  # leaves room for a `RulePair`
            raise TooComplex(f"it has {len(text):,} characters")
        found = rule_cost.tokens(text)
        self._matches = [
            token
            for token, following in pairwise(found)
            if (token.text, following.text) == (MATCHES, "(")
        ]
        try:
            self._program = _cel().compile(_replace_matches(text, self._matches))
        except ValueError as error:
            raise _syntax_error(str(error)) from None
        bound = set(BINDS.findall(text))
        self._variables = set(self._program.variables())
        self.fields = _fields_read(text, self._known[0])
        self._others = [name for name in self._known[1:] if name in self._variables]
        unknown = sorted(self._variables - bound - set(self._known))
        if unknown:
            raise ValueError(
                f"`{text}` reads {', '.join(unknown)}; rules have {', '.join(self._known)}"
            )
        self._most = rule_cost.largest_input(text, MOST_UNITS, MOST_INPUT)

    def check_price(self) -> None:
        """Check that the rule can be evaluated for items of a useful size, in linear time.

        Raises:
            ValueError: it cannot; the message gives the reason and the remedy.
        """
        if len(self.text) > MOST_CHARACTERS:
            raise ValueError(
                f"a rule has at most {MOST_CHARACTERS:,} characters; this one has {len(self.text):,}"
            )
        if self._too_complex:
            raise ValueError(
                f"`{_short(self.text)}` is too complex: {self._too_complex}; write a simpler rule"
            )
        if self._most < LEAST_INPUT:
            raise ValueError(
                f"`{_short(self.text)}` may take too long for an item of {LEAST_INPUT} values; use fewer macros "
                f"({', '.join(rule_cost.MACROS)}) within or behind one another"
            )
        for text in self._patterns():
            pattern(text)

    def _patterns(self) -> Iterator[str]:
        """Yield the patterns that are literals in the rule."""
        found = rule_cost.tokens(self.text)
        for call in self._matches:
            argument, depth = list[str](), 0
            for token in found[found.index(call) + 1 :]:
                depth += (token.text == "(") - (token.text == ")")
                if depth == 0:
                    break
                if depth == 1 and token.text == ",":
                    argument = ["("]
                elif token.kind == "text" or token.text in "+()":
                    argument.append(token.text)
                else:
                    argument.append(" ")  # marks a pattern that depends on the item
            if " " not in argument:
                yield _cel().compile(" ".join(argument) + ")").execute({})

    def reads(self, variable: str) -> bool:
        """Return whether the rule reads the variable."""
        return variable in self._variables

    def holds(self, variables: Mapping[str, Any]) -> bool:
        """Return whether the rule is true for an item.

        Raises:
            RuleFailed: the rule reads a missing field, cannot be computed, or is not a boolean.
        """
        value = self.value(variables)
        if not isinstance(value, bool):
            raise RuleFailed(f"`{self.text}` gives {type(value).__name__}, not true or false")
        return value

    def value(self, variables: Mapping[str, Any]) -> Any:
        """Return the value of the expression for an item.

        Raises:
            RuleFailed: the expression reads a missing field or cannot be computed.
        """
        if self._program is None:
            raise RuleFailed(f"`{_short(self.text)}` would take too long: {self._too_large()}")
        inputs = self._select_read(variables)
        if rule_cost.size(inputs.get(self._known[0]), self._most) > self._most:
            raise RuleFailed(f"`{self.text}` would take too long: {self._too_large()}")
        matcher = None
        if self._matches:
            matcher = _Matcher()
            inputs[OURS] = matcher.matches
        try:
            value = self._program.execute(inputs)
        except KeyError as error:
            raise RuleFailed(
                f"`{self.text}` reads {error}, which this item lacks; guard it with has()"
            ) from None
        except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise RuleFailed(
                f"`{self.text}` failed: {(matcher and matcher.fault) or error}"
            ) from None
        if matcher is not None and matcher.over:
            raise RuleFailed(f"`{self.text}` would take too long: {matcher.fault}")
        return value

    def _too_large(self) -> str:
        """Return the reason why the rule is not evaluated for a large item."""
        if self._too_complex:
            return self._too_complex
        return f"it is computed for items of up to {self._most:,} values, and this one has more; compare size() in another rule"

    def _select_read(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return only the variables and fields that the rule reads, because an evaluation first copies all its input."""
        read = {name: variables[name] for name in self._others}
        if self._known[0] in self._variables:
            whole = variables[self._known[0]]
            if self.fields is not None and whole is not None:
                whole = {name: whole[name] for name in self.fields if name in whole}
            read[self._known[0]] = whole
        return read


class RulePair:
    """Two rules that are evaluated at once, at about the cost of one."""

    def __init__(self, first: Rule, second: Rule) -> None:
        # A rule may end with a comment, so a line feed must follow it.
        self._asked = Rule(f"[(\n{first.text}\n), (\n{second.text}\n)]")

    def hold(self, variables: Mapping[str, Any]) -> tuple[bool, bool] | None:
        """Return whether each rule is true for an item, None if one fails; the caller then evaluates each alone."""
        try:
            first, second = self._asked.value(variables)
        except RuleFailed:
            return None
        return (first, second) if isinstance(first, bool) and isinstance(second, bool) else None


class _Matcher:
    """The pattern matching of one evaluation, and its cost."""

    def __init__(self) -> None:
        self._spent, self.fault = 0, ""

    @property
    def over(self) -> bool:
        """Whether the matches have cost more than `MOST_COMPARED`."""
        return self._spent > MOST_COMPARED

    def matches(self, *arguments: Any) -> bool:
        """Return whether the pattern, the second argument, matches within the first.

        Raises:
            ValueError: the arguments are not two texts, the pattern is invalid, or the matches cost too much.
        """
        match arguments:
            case (str() as text, str() as wanted):
                pass
            case _:
                raise ValueError(self._note_fault("matches() compares a text with a pattern"))
        try:
            compiled = pattern(wanted)
        except ValueError as error:
            raise ValueError(self._note_fault(str(error))) from None
        self._spent += (len(text) + LEAST_INPUT) * compiled.kib
        if self.over:
            raise ValueError(
                self._note_fault(
                    f"its patterns compare more than {MOST_COMPARED:,} characters x KiB; shorten them"
                )
            )
        return compiled.is_in(text)

    def _note_fault(self, why: str) -> str:
        self.fault = why
        return why


def _replace_matches(text: str, matches: list[Token]) -> str:
    for token in matches:
        text = text[: token.at] + OURS + text[token.at + len(MATCHES) :]
    return text


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."


def _fields_read(text: str, variable: str) -> list[str] | None:
    """Return the fields of an object variable that an expression can read; None if it may read all fields."""
    fields = re.findall(FIELD.format(variable), text)
    return fields if len(fields) == len(re.findall(rf"\b{variable}\b", text)) else None


def _syntax_error(message: str) -> RuleSyntaxError:
    """Return the first fault in the parser's message."""
    fault = FAULT.search(message)
    if fault is None:
        return RuleSyntaxError(message.removeprefix("Failed to parse expression "))
    return RuleSyntaxError(fault["words"], f"line {fault['line']}, column {fault['column']}")
