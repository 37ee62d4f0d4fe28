"""Simulated worlds of right and wrong early answers, for which the product's own code decides about second passes."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from lanes.promises.second_pass import PassRecords
from tests.conftest import NOON
from tests.examples import version


@dataclass(frozen=True)
class WorldClass:
    """A class of answers: its weight, its `agreement`, and its agreement `later`, after the share `shift` of all answers."""

    weight: float
    agreement: float
    later: float | None = None
    shift: float = 1.0


@dataclass
class LedWorld:
    """The counts of a simulated world; `exceeded` holds the classes whose missed share exceeded the risk at a look."""

    answers: Counter[str] = field(default_factory=Counter[str])
    saved: Counter[str] = field(default_factory=Counter[str])
    missed: Counter[str] = field(default_factory=Counter[str])
    exceeded: set[str] = field(default_factory=set[str])
    records: PassRecords | None = None

    @property
    def saved_share(self) -> float:
        return self.saved.total() / self.answers.total()

    @property
    def missed_share(self) -> float:
        return self.missed.total() / self.answers.total()


def lead(
    classes: Sequence[WorldClass],
    second_pass: dict[str, Any],
    *,
    answers: int,
    every: int = 200,
    delay: int = 200,
    seed: int = 1,
) -> LedWorld:
    """Simulate `answers` answers and return the counts.

    A look follows each `every` answers; second passes arrive `delay` answers late.
    """
    drawn, names = Random(seed), [f"class{n}" for n in range(len(classes))]
    category = {"type": "string", "enum": names}
    schema = {
        "type": "object",
        "properties": {"category": category, "confidence": {"type": "number"}},
        "required": ["category"],
        "additionalProperties": False,
    }
    of = version(mode="lambda", output_schema=schema, second_pass=second_pass)
    led, records, passes = (
        LedWorld(),
        PassRecords(of),
        deque[tuple[int, str, dict[str, Any], bool]](),
    )
    weights = [each.weight for each in classes]
    for n in range(answers):
        (place,) = drawn.choices(range(len(classes)), weights)
        of_class, name, key = classes[place], names[place], f"{seed}-{n}"
        is_later = of_class.later is not None and n >= of_class.shift * answers
        agrees = drawn.random() < (
            of_class.later if is_later and of_class.later is not None else of_class.agreement
        )
        output = {"category": name, "confidence": 0.9 if agrees else drawn.choice([0.5, 0.9])}
        saved = records.passes.leaves_out(key, output)
        records.answer(key, output, saved=saved)
        led.answers[name] += 1
        led.saved[name] += saved
        led.missed[name] += saved and not agrees
        if not saved:
            passes.append((n, key, output, agrees))
        if n % every == 0:
            while passes and passes[0][0] <= n - delay:
                _, key, output, agrees = passes.popleft()
                records.compare(key, output, agrees=agrees, owed_at_once=True, usd=Decimal("0.001"))
            records.look(NOON)
            risk = second_pass.get("risk", 1)
            led.exceeded |= {each for each in names if led.missed[each] > risk * led.answers[each]}
    led.records = records
    return led
