"""The settings that a stand runs with, as far as this shell knows them, and the differences of the shell.

Secrets that the shell lacks are read from Prefect's blocks, to which `lanes up` wrote them; they are stored nowhere else.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand import login
from lanes.stand.info import STAND_IN_KEY, StandInfo, load_info
from lanes.stand.kept import (
    DATABASE,
    PREFECT,
    PROVIDER,
    Difference,
    Said,
    differences,
    fingerprint,
    list_variables,
)
from lanes.words import BLOCK

if TYPE_CHECKING:
    from lanes.stand.prefect_api import PrefectApi


@dataclass(frozen=True)
class RunsWith:
    """The settings of a stand. `settings` are the stand's, or the shell's if no stand is up.

    `unknown` are the secrets of the stand that neither this shell nor a block of the stand's Prefect contains.
    """

    settings: Settings
    info: StandInfo | None = None
    unknown: Mapping[str, Said] = field(default_factory=dict)
    differences: Sequence[Difference] = ()

    def database_url(self) -> str | None:
        """Return the address of the stand's database; None if it is not known."""
        if self.settings.database_url is not None:
            return self.settings.database_url.get_secret_value()
        if DATABASE in self.unknown or self.info is None:
            return None
        try:
            return self.info.environment().get(DATABASE)
        except OSError:  # the password was deleted with the data, or only another user may read it
            return None

    def prefect_url(self) -> str | None:
        """Return the address of Prefect's API; None if none is known."""
        return self.settings.prefect_api_url or (self.info and self.info.prefect_api_url)

    def describe_missing(self, variable: str) -> str:
        """Return the message about a secret that is unknown here."""
        where = " at ".join(filter(None, ["yours", self.unknown[variable].shown]))
        return (
            f"{where}; neither this shell nor a block of the stand's Prefect tells {variable}: "
            "set it as where `lanes up` ran"
        )


def runs_with(shell: Settings, home: Path) -> RunsWith:
    """Return the settings that the stand of this home runs with."""
    info = load_info(home)
    if info is None or info.settings is None:
        return RunsWith(shell, info)
    shell_variables = list_variables(shell)
    same = [name for name, each in info.settings.items() if shell_variables.get(name) == each]
    alike = _list_values(shell, same)
    others = (
        (name, each) for name, each in info.settings.items() if shell_variables.get(name) != each
    )
    lacking = {name: each for name, each in others if each.fingerprint}
    found = read_vault(info, lacking)
    values = {name: each.shown for name, each in info.settings.items() if not each.fingerprint}
    return RunsWith(
        Settings.model_validate({"LANES_HOME": str(shell.home), **values, **alike, **found}),
        info,
        {variable: each for variable, each in lacking.items() if variable not in found},
        differences(info.settings, shell_variables, _describe_own(info, shell_variables)),
    )


def conflicts(shell: Settings, home: Path) -> list[Difference]:
    """Return the variables that this shell sets to other values than the stand of this home has.

    With such a conflict, the commands of this shell do not use the stand.
    """
    info = load_info(home)
    if info is None or info.settings is None:
        return []
    shell_variables = list_variables(shell)
    return [
        each
        for each in differences(
            info.settings, shell_variables, _describe_own(info, shell_variables)
        )
        if each.is_conflict
    ]


def less_own(shell: Settings, info: StandInfo | None) -> Settings:
    """Return the shell's settings without the variables that only lead to the stand's own parts, which change nothing."""
    if info is None:
        return shell
    shell_variables = list_variables(shell)
    own = _describe_own(info, shell_variables)
    asked = [
        variable for variable in shell.variables() if own.get(variable) != shell_variables[variable]
    ]
    return Settings.model_validate({"LANES_HOME": str(shell.home), **_list_values(shell, asked)})


def read_vault(info: StandInfo, secrets: Mapping[str, Said]) -> dict[str, str]:
    """Return the secrets that the blocks of the stand's Prefect contain and that match their stored fingerprints."""
    if not secrets:
        return {}
    found = read_blocks(info, secrets)
    return {
        each: value
        for each, value in found.items()
        if fingerprint(each, value) == secrets[each].fingerprint
    }


def rewritten(info: StandInfo) -> list[str]:
    """Return the variables of the stand for which a block of its Prefect now has another value, which the flows use."""
    kept = {name: each for name, each in (info.settings or {}).items() if name in HELD}
    found = read_blocks(info, kept)
    return [
        each for each, value in found.items() if kept[each].fingerprint != fingerprint(each, value)
    ]


def _list_values(shell: Settings, variables: Sequence[str]) -> dict[str, str]:
    said_here = shell.variables()
    found = {variable: said_here[variable] for variable in variables if variable in said_here}
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in found.items()
    }


def _describe_own(info: StandInfo, here: Mapping[str, Said]) -> dict[str, Said]:
    """Return the values that lead to the stand's own parts, by variable; a secret only if its variable is set here."""
    found: dict[str, Said] = {}
    if "prefect" in info.embedded:
        found[PREFECT] = Said(info.prefect_api_url.rstrip("/"))
        if login.PAIR in here and (pair := login.read_login(info.home)) is not None:
            found[login.PAIR] = Said("", fingerprint(login.PAIR, pair))
    if DATABASE in here and "database" in info.embedded and info.postgres is not None:
        with suppress(OSError):  # the password was deleted with the data
            found[DATABASE] = Said(info.database, fingerprint(DATABASE, info.postgres.url("lanes")))
    if "provider" in info.embedded and info.provider_base_url is not None:
        found["ANTHROPIC_BASE_URL"] = Said(info.provider_base_url)
        if PROVIDER in here:
            found[PROVIDER] = Said("", fingerprint(PROVIDER, STAND_IN_KEY))
    return found


ANTHROPIC = "https://api.anthropic.com"  # if the block names no other address
HELD = {
    "LANES_DATABASE_URL": ("lanes-database", "url"),
    "LANES_DIRECT_DATABASE_URL": ("lanes-database", "direct_url"),
    "ANTHROPIC_API_KEY": ("lanes-provider", "api_key"),
    "ANTHROPIC_ADMIN_KEY": ("lanes-provider", "admin_key"),
    "SLACK_BOT_TOKEN": ("lanes-slack-channel", "bot_token"),
    "SLACK_WEBHOOK_URL": ("lanes-slack-channel", "webhook_url"),
}
ANSWER_S = 5.0


def read_blocks(info: StandInfo, variables: Iterable[str]) -> dict[str, str]:
    """Return the values of these variables in Prefect's blocks, as far as Prefect answers."""
    from lanes.stand.prefect_api import PrefectApi  # most commands start without an HTTP client

    found: dict[str, str] = {}
    with suppress(StandError), PrefectApi.from_stand(info, timeout_s=ANSWER_S) as api:
        for variable in variables:
            if variable in HELD:
                slug, field = HELD[variable]
                value = (api.block(slug, BLOCK, with_secrets=True) or {}).get(field)
                if isinstance(value, str):
                    found[variable] = value
    return found


def provider_in(api: "PrefectApi", name: str = BLOCK) -> tuple[str, str] | None:
    """Return (base address, key) of the model provider that a block of Prefect names; None without the block or an answer."""
    with suppress(StandError), api:
        block = api.block("lanes-provider", name, with_secrets=True) or {}
        base, login = str(block.get("base_url") or ANTHROPIC).rstrip("/"), block.get("login")
        if isinstance(key := block.get("api_key"), str):
            return (base.replace("://", f"://{login}@", 1) if login else base), key
    return None
