"""An upper bound on the cost of a CEL expression, as a polynomial of the size of its input.

The bound is checked before the evaluation, because the evaluator has no limit and holds the interpreter's lock until it ends.

A unit is about the time that the evaluator takes to copy one value (a third of a microsecond). Sizes count values, plus one for
each `CHARACTERS` of a text. The bounds fit the package `common-expression-language`: reading a variable or a field copies it,
and `map` and `filter` copy their list for each element. Precedence does not matter, because both operands of an operator count.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

CHARACTERS = 256
GIVEN = 4  # units to pass a value to the evaluator
LOOP = 8  # units for each element that a macro visits
MOST_TOKENS = 2_000
MOST_TERMS = 60
DEEPEST = 100  # nested brackets; the parser of CEL accepts fewer
INPUT = "payload"
MACROS = ("all", "exists", "exists_one", "filter", "map")
COPYING = ("filter", "map")
KNOWN_SIZE = {"age_s": 1, "due_in_s": 1, "consumer": 3, "true": 1, "false": 1, "null": 1}
TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*)
    |(?P<text>(?:[bB][rR]?|[rR][bB]?)?(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<name>[A-Za-z_]\w*)
    |(?P<number>\.?[0-9][\w.]*)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
RAW_TEXT = re.compile(
    r"""(?P<raw>[bB]?[rR][bB]?)(?:\"\"\"(?:.)*?\"\"\"|'''(?:.)*?'''|"[^"\n]*"|'[^'\n]*')""",
    re.DOTALL,
)  # in a raw text a backslash escapes nothing

Polynomial = Counter[tuple[str, ...]]  # the coefficient of each product of sizes


class TooComplex(ValueError):
    """An expression that is too complex to bound its cost."""


@dataclass(frozen=True)
class Token:
    """A token of an expression: `kind` is text, name, number or sign."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True)
class Value:
    """The bounds of a part of an expression: the size of its value, and the units to compute it."""

    size: Polynomial
    cost: Polynomial


def tokens(text: str) -> list[Token]:
    """Return the tokens of a valid expression, without comments and blanks.

    Raises:
        TooComplex: it has more than `MOST_TOKENS` tokens.
    """
    result: list[Token] = []
    position = 0
    while position < len(text):
        match = RAW_TEXT.match(text, position)
        kind = "text"
        if match is None:
            match = TOKEN.match(text, position)
            assert match is not None
            kind = match.lastgroup or "sign"
        if kind != "blank":
            result.append(Token(kind, match[0], position))
        if len(result) > MOST_TOKENS:
            raise TooComplex(f"it has more than {MOST_TOKENS:,} words and signs")
        position = match.end()
    return result


def cost(text: str) -> Polynomial:
    """Return the largest number of units that an expression takes, as a polynomial of the size of its input.

    Raises:
        TooComplex: the expression is too long or too deep.
    """
    reader = _Reader(tokens(text))
    return reader.sequence(()).cost + Counter({(INPUT,): GIVEN})


def largest_input(text: str, budget: int, most: int) -> int:
    """Return the largest size of input, up to `most`, with which an expression stays within `budget`; 0 if there is none.

    Raises:
        TooComplex: the expression is too long or too deep.
    """
    terms = Counter[int]()
    for product, coefficient in cost(text).items():
        terms[len(product)] += coefficient
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if sum(coefficient * middle**power for power, coefficient in terms.items()) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def size(value: object, most: int) -> int:
    """Return the size of a JSON value; the count may stop once it exceeds `most`."""
    kind = type(value)
    if kind is dict:
        total, inner = 1 + len(value), value.values()  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    elif kind is list or kind is tuple:
        total, inner = 1, value
    else:
        return 1 + len(value) // CHARACTERS if kind is str else 1  # pyright: ignore[reportArgumentType]
    for each in inner:  # pyright: ignore[reportGeneralTypeIssues]
        kind = type(each)
        if kind is str:
            total += 1 + len(each) // CHARACTERS
        elif kind is dict or kind is list or kind is tuple:
            total += size(each, most - total)
        else:
            total += 1
        if total > most:
            break
    return total


class _Reader:
    """A reader of tokens from left to right, with brackets as the only structure."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens, self._at, self._bound, self._depth = found, 0, 0, 0

    def sequence(self, names: tuple[tuple[str, str], ...], ends: Iterable[str] = ()) -> Value:
        """Read operands and operators up to one of the signs in `ends`, without that sign, and return their bounds."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise TooComplex(f"more than {DEEPEST} brackets stand within one another")
        size, units = _number(0), _number(0)
        while (token := self._peek()) is not None and not (
            token.kind == "sign" and token.text in ends
        ):
            if token.kind == "sign" and token.text not in "([{":
                self._at += 1  # an operator
                continue
            if token.kind == "name" and token.text == "in":
                self._at += 1
                continue
            operand = self._operand(names)
            size, units = size + operand.size, units + operand.cost + operand.size
        self._depth -= 1
        return Value(_check_terms(size), _check_terms(units))

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self) -> Token | None:
        token = self._peek()
        self._at += 1
        return token

    def _operand(self, names: tuple[tuple[str, str], ...]) -> Value:
        token = self._take()
        assert token is not None
        if token.kind == "sign":
            value = self._read_elements(names, {"(": ")", "[": "]", "{": "}"}[token.text])
        elif token.kind == "name" and not self._is_next("("):
            size = _variable(token.text, names)
            value = Value(size, size + _number(1))
        elif token.kind == "name":
            self._at += 1
            value = self._read_elements(names, ")")
        else:
            value = Value(_number(1 + len(token.text) // CHARACTERS), _number(1))
        return self._read_postfixes(value, names)

    def _read_postfixes(self, value: Value, names: tuple[tuple[str, str], ...]) -> Value:
        while True:
            if self._is_next("."):
                self._at += 1
                name = self._take()
                if not self._is_next("("):
                    value = Value(value.size, value.cost + value.size + _number(1))
                    continue
                self._at += 1
                if name is not None and name.text in MACROS and self._is_macro():
                    value = self._macro(name.text, value, names)
                else:
                    value = self._with(value, self._read_elements(names, ")"))
            elif self._is_next("["):
                self._at += 1
                value = self._with(value, self._read_elements(names, "]"))
            elif self._is_next("{"):
                self._at += 1
                value = self._with(value, self._read_elements(names, "}"))
            else:
                return value

    @staticmethod
    def _with(value: Value, arguments: Value) -> Value:
        size = value.size + arguments.size
        return Value(
            _check_terms(size), _check_terms(value.cost + arguments.cost + size + _number(1))
        )

    def _is_next(self, sign: str) -> bool:
        token = self._peek()
        return token is not None and token.kind == "sign" and token.text == sign

    def _is_macro(self) -> bool:
        """Return whether the first argument of a call is a variable name, as in a macro."""
        following = self._tokens[self._at : self._at + 2]
        return len(following) == 2 and following[0].kind == "name" and following[1].text == ","

    def _read_elements(self, names: tuple[tuple[str, str], ...], end: str) -> Value:
        """Read the content of brackets (elements of a list or a map, arguments, or one expression) and return its bounds."""
        size, spent = _number(1), _number(1)
        while True:
            each = self.sequence(names, (",", ":", end) if end != ")" else (",", end))
            size, spent = _check_terms(size + each.size), _check_terms(spent + each.cost)
            token = self._take()
            if token is None or token.text == end:
                return Value(size, spent + size)

    def _macro(self, name: str, value: Value, names: tuple[tuple[str, str], ...]) -> Value:
        variable = self._tokens[self._at].text
        self._at += 2
        self._bound += 1
        element = f"{variable}#{self._bound}"
        body = self._read_elements((*names, (variable, element)), ")")
        each = _each(body.size, element, value.size)
        visits = _each(body.cost + _number(LOOP), element, value.size)
        spent = value.cost + value.size + visits
        if name not in COPYING:
            return Value(_number(1), _check_terms(spent))
        size = value.size if name == "filter" else value.size + each
        return Value(_check_terms(size), _check_terms(spent + _times(value.size, size)))


def _number(number: int) -> Polynomial:
    return Counter({(): number} if number else {})


def _variable(name: str, names: tuple[tuple[str, str], ...]) -> Polynomial:
    element = next((element for bound, element in reversed(names) if bound == name), None)
    if element is not None:
        return Counter({(element,): 1})
    return _number(KNOWN_SIZE[name]) if name in KNOWN_SIZE else Counter({(INPUT,): 1})


def _times(one: Polynomial, other: Polynomial) -> Polynomial:
    product: Polynomial = Counter()
    for left, factor in one.items():
        for right, more in other.items():
            product[tuple(sorted(left + right))] += factor * more
    return product


def _each(of_one: Polynomial, element: str, of_all: Polynomial) -> Polynomial:
    """Return the sum of a bound over the elements of a list, whose sizes add up to at most the size of the list."""
    total: Polynomial = Counter()
    for product, factor in of_one.items():
        others = tuple(name for name in product if name != element)
        part: Polynomial = Counter({others: factor})
        for _ in range(max(len(product) - len(others), 1)):
            part = _check_terms(_times(part, of_all))
        total += part
    return _check_terms(total)


def _check_terms(polynomial: Polynomial) -> Polynomial:
    if len(polynomial) > MOST_TERMS or any(len(product) > DEEPEST for product in polynomial):
        raise TooComplex("its macros stand too deep within one another")
    return polynomial
