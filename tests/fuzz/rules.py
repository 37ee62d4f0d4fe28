"""Hostile rules, schemas and definitions over hostile payloads: refused, or evaluated within their time limit."""

import json
import random
import time
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st

from lanes.errors import RuleFailed, SpecInvalid
from lanes.routing.route import ArrivedItem, decide
from lanes.routing.split import Splits
from lanes.settling.outcome import Response, judge
from lanes.words import Lane
from lanes.workload import definition_file
from lanes.workload.answer_check import AnswerCheck
from lanes.workload.definition import parse
from lanes.workload.prices import Usage
from lanes.workload.rules import Rule
from lanes.workload.version import Version
from tests.conftest import NOON
from tests.examples import SCHEMA, version
from tests.fuzz.drawing import drawn
from tests.fuzz.senders import RandomMix
from tests.fuzz.verdicts import FuzzFault

AREA = "rules"
LONGEST_S = 3.0  # of processor time; the limits of one evaluation are a few tenths of a second
ATOMS = [
    "payload",
    "payload.tags",
    "payload.text",
    "payload.n",
    "age_s",
    "due_in_s",
    "consumer",
    "true",
    "false",
    "null",
    "0",
    "-1",
    "1.5",
    "9223372036854775807",
    "1e308",
    "'a'",
    "''",
    "[1, 2]",
    "{'a': 1}",
    "has(payload.text)",
    "t",
    "x",
    "size(payload)",
    "type(payload)",
    "timestamp('2026-01-01T00:00:00Z')",
    "duration('1h')",
    "string(payload)",
    "int(payload.text)",
    "nobody",
    "payload['text']",
    "b'\\xff'",
]
PATTERNS = [
    "(a+)+$",
    "(a|a)*b",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(x+x+)+y",
    "[",
    "\\\\1",
    "(?=a)",
    ".*.*.*.*=",
    "a{1000}{1000}",
    "\\u00e9",
]
FORMS = [
    "({} == {})",
    "({} && {})",
    "({} || {})",
    "({} > {})",
    "({} in {})",
    "({} + {})",
    "({} ? {} : {})",
    "!{}",
    "-{}",
    "({} % {})",
    "{}.exists(t, {})",
    "{}.all(t, {})",
    "{}.map(t, {})",
    "{}.filter(t, {})",
    "{}.exists_one(x, {})",
    "size({})",
    "{}[{}]",
    "{}.a.b.c",
    "{}.startsWith({})",
    "{}.contains({})",
    "{}.matches('%s')",
    "matches({}, '%s')",
    "{} // ",
    "({}",
    "{})",
    "{}.exists({}, {})",
]
TAGS = [[f"t{n}" for n in range(3_000)], ["a" * 27 + "!"] * 30, list(range(500)), [["a"] * 50] * 50]
KEYWORDS = [
    "type",
    "enum",
    "pattern",
    "$ref",
    "allOf",
    "anyOf",
    "not",
    "minLength",
    "multipleOf",
    "uniqueItems",
    "properties",
    "items",
    "patternProperties",
    "additionalProperties",
    "required",
    "const",
    "$defs",
    "if",
    "then",
    "maxItems",
    "format",
]
YAMLS = [
    "&a [*a, *a]",
    "*b",
    "<<: *a",
    "!!python/object:os.system x",
    "? [a]",
    "- - -",
    "\t",
    "a: b: c",
    "'",
    "---\n---",
    "\x00",
    "# x",
    "!!binary aa",
    "2026-01-01",
    "0o17",
    "yes",
    "|2\n  x",
    "{a: [",
    "%YAML 9",
    "\ufeff",
    "&x " * 200,
    "[" * 200,
]


class Rules:
    """Rules, schemas and files drawn from a seed, and checks of how Lanes handles them."""

    def __init__(self, seed: int, chance: random.Random, *, fragments: int) -> None:
        self._random, self._mixed = chance, RandomMix(seed, chance, fragments=fragments)
        self._texts = drawn(st.text(max_size=12), fragments, seed)
        self._calm = Rule("payload.n > 30")

    def cases(self, number: int) -> list[tuple[str, str]]:
        """Return `number` cases, each as its kind and its text."""
        makers = {"rule": self._rule, "schema": self._schema, "file": self._file}
        return [
            (kind, makers[kind]()) for kind in self._random.choices([*makers], [6, 2, 2], k=number)
        ]

    def faults(self, case: tuple[str, str]) -> list[FuzzFault]:
        """Return the faults of a case, and of a well-formed rule that is evaluated after it."""
        kind, said = case
        began = time.thread_time()
        try:
            {"rule": self._computed, "schema": self._checked, "file": self._read}[kind](said)
        except Exception as error:
            return [FuzzFault("crash", AREA, f"{kind}: {type(error).__name__}: {error}", said)]
        took = time.thread_time() - began
        faults = (
            [FuzzFault("crash", AREA, f"{kind}: it took {took:.1f} s", said)]
            if took > LONGEST_S
            else []
        )
        if not self._calm.holds({"payload": {"n": 31}}) or self._calm.holds({"payload": {"n": 30}}):
            faults.append(
                FuzzFault("harmed", AREA, "a well-formed rule gives something else", said)
            )
        return faults

    def _payload(self) -> dict[str, Any]:
        payload: Any = {}
        with suppress(ValueError, RecursionError):
            payload = json.loads(self._mixed.fragment("payload"))
        more = {
            "tags": self._random.choice(TAGS),
            "text": self._random.choice(["a" * 40 + "!", "aB" * 2_000, "7"]),
            "n": 5,
        }
        return (payload if isinstance(payload, dict) else {}) | more

    def _rule(self, depth: int = 0) -> str:
        if depth > 4 or self._random.random() < 0.15 * depth:
            return (
                self._random.choice(ATOMS)
                if self._random.random() < 0.9
                else repr(self._random.choice(self._texts))
            )
        form = self._random.choice(FORMS)
        if "%s" in form:
            form = form.replace(
                "%s", self._random.choice(PATTERNS).replace("{", "{{").replace("}", "}}")
            )
        return form.format(*(self._rule(depth + 1) for _ in range(3)))

    def _computed(self, said: str) -> None:
        try:
            rule = Rule(said)
            rule.check_price()
        except ValueError:
            return
        payload = self._payload()
        with suppress(RuleFailed):
            rule.value({"payload": payload, "age_s": 5.0, "due_in_s": None, "consumer": "desk"})
        try:
            of: Version = version(urgent_when=said)
        except SpecInvalid:
            return
        for each in (payload, {"n": 1}):
            assert (
                decide(ArrivedItem("letters", "k", each, NOON, NOON), of, Splits([]), now=NOON).lane
                in Lane
            )

    def _schema(self) -> str:
        schema = json.loads(json.dumps(SCHEMA))
        at = self._random.choice(
            [schema, schema["properties"]["note"], schema["properties"]["category"]]
        )
        for _ in range(self._random.randint(1, 4)):
            at[self._random.choice(KEYWORDS)] = self._value()
        return json.dumps(schema)

    def _value(self) -> Any:
        match self._random.randint(0, 4):
            case 0:
                return self._random.choice(PATTERNS)
            case 1:
                return {
                    "$ref": self._random.choice(
                        [
                            "#",
                            "#/properties/note",
                            "#/$defs/a",
                            "http://127.0.0.1:1/x",
                            "file:///etc/passwd",
                        ]
                    )
                }
            case 2:
                return [
                    {self._random.choice(KEYWORDS): self._random.choice(self._texts)}
                    for _ in range(2)
                ]
            case 3:
                return self._random.choice(
                    [0, -1, 0.1, 10**300, True, None, "string", ["string", "null"], {}]
                )
            case _:
                return {self._random.choice(KEYWORDS): self._random.choice(PATTERNS)}

    def _checked(self, said: str) -> None:
        try:
            spec = parse("letters", {"instructions": "Sort.", "output_schema": json.loads(said)})
        except SpecInvalid:
            return
        check = AnswerCheck(spec.output_schema)
        for answer in (
            {"category": "a"},
            {"category": "a", "note": "a" * 40 + "!"},
            self._payload(),
            None,
            [1],
        ):
            judge(Response("msg_1", None, json.dumps(answer), "end_turn", Usage()), ["one"], check)

    def _file(self) -> str:
        lines = [
            "name: letters",
            "instructions: Sort the letter.",
            f"output_schema: {json.dumps(SCHEMA)}",
            "split_percent: 5",
        ]
        for _ in range(self._random.randint(1, 4)):
            odd = (
                self._random.choice(YAMLS)
                if self._random.random() < 0.7
                else self._random.choice(self._texts)
            )
            name = self._random.choice(
                ["name", "urgent_when", "promises", "input_schema", "split_percent", odd]
            )
            lines.insert(self._random.randint(0, len(lines)), f"{name}: {odd}")
        return "\n".join(lines)

    def _read(self, said: str) -> None:
        with suppress(SpecInvalid):
            definition_file.read(said.encode("utf-8", "surrogatepass"), file="letters.yaml")
