"""The findings of `lanes doctor`: each check passes, or explains in one sentence the problem and what to do."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from lanes.errors import SetupError
from lanes.settings import Settings
from lanes.stand import checks
from lanes.stand.patient import NotLooked, Patient
from lanes.stand.runs_with import runs_with
from lanes.stand.whereabouts import find_checkout, find_home


class CheckVerdict(StrEnum):
    """The verdict of a check. A check that could not run has not passed."""

    OK = "ok"
    WRONG = "wrong"
    NOT_LOOKED = "not looked"  # the check could not run because another one found a problem


@dataclass(frozen=True)
class Finding:
    """The outcome of one check, in one sentence."""

    check: str
    verdict: CheckVerdict
    sentence: str


Checks = Sequence[tuple[str, Callable[[Patient], str]]]
CHECKS: Checks = (
    ("python", checks.python_version),
    ("home", checks.home),
    ("shell", checks.shell),
    ("database", checks.database),
    ("schema", checks.schema),
    ("prefect", checks.prefect),
    ("workers", checks.workers),
    ("deployments", checks.deployments),
    ("automations", checks.automations),
    ("blocks", checks.blocks),
    ("provider", checks.provider),
    ("models", checks.models),
    ("circuits", checks.circuits),
    ("standing", checks.check_standing),
    ("webhooks", checks.webhooks),
    ("slack", checks.slack),
    ("heartbeat", checks.heartbeat),
)


def examine(
    settings: Settings | None = None,
    home: Path | None = None,
    checkout: Path | None = None,
    *,
    of: Checks = CHECKS,
) -> list[Finding]:
    """Run the checks in parallel, without starting or changing anything, and return their findings in order.

    Each takes about 10 s at most. The checks use the settings that the stand runs with, or this shell's if no stand is up.
    `settings` are the shell's; if None, they are read from the environment, and a variable that cannot be read is a finding.
    """
    if settings is None:
        try:
            settings = Settings.read()
        except ValidationError as error:
            return [Finding("settings", CheckVerdict.WRONG, _unreadable(error))]
    checkout = (checkout or find_checkout()).resolve()
    home = home or find_home(settings, checkout)
    patient = Patient(runs_with(settings, home), home)
    with ThreadPoolExecutor(max_workers=len(of)) as pool:
        findings = pool.map(lambda each: _look(each[0], each[1], patient), of)
        return [Finding("settings", CheckVerdict.OK, "every variable can be read"), *findings]


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Return whether every check ran and passed."""
    return all(finding.verdict is CheckVerdict.OK for finding in findings)


def _look(name: str, check: Callable[[Patient], str], patient: Patient) -> Finding:
    try:
        return Finding(name, CheckVerdict.OK, check(patient))
    except NotLooked as reason:
        return Finding(name, CheckVerdict.NOT_LOOKED, str(reason))
    except SetupError as error:
        return Finding(name, CheckVerdict.WRONG, str(error))


def _unreadable(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    return f"the variable {'.'.join(map(str, first['loc']))} cannot be read: {first['msg']}; correct or unset it"
