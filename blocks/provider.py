"""The address of the provider, and the account that is billed."""

from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, SecretStr, model_validator

from blocks.slack_channel import in_order
from lanes.provider.client import connect
from lanes.realtime.pace import MOST
from lanes.text import split_login

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic


class Provider(Block):
    """The Anthropic account, or the local stand-in that takes its place."""

    model_config = ConfigDict(
        json_schema_extra=in_order, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    _block_type_name = "Lanes provider"
    _block_type_slug = "lanes-provider"
    _description = "The Anthropic account that answers and is billed."

    api_key: SecretStr = Field(title="API key")
    """An Anthropic API key of a workspace that only Lanes uses."""
    admin_key: SecretStr | None = Field(default=None, title="Admin key")
    """An admin key of the organization (sk-ant-admin...) to read the bill. Empty: the ledger is not compared with the bill."""
    base_url: str = Field(default="https://api.anthropic.com", title="Base URL")
    """Address of the API, if it is not Anthropic's own."""
    login: SecretStr | None = Field(default=None, title="Login")
    """user:password for a gateway between Lanes and the provider. A login in the base URL is moved to this field."""
    account: str = Field(
        default="",
        max_length=200,
        title="Account",
        description="Name of the account that is billed; it stays through changes of the key. Empty takes the host of the "
        "base URL. Name it where two accounts share an address.",
    )
    most_calls: int = Field(
        default=0,
        ge=0,
        le=MOST,
        title="Most calls at once",
        description="Real-time calls in flight of one drain, 1 to 500. 0: as many as their length asks for and the provider's "
        "limits hold; 64 while it tells none.",
    )
    poll_s: float = Field(default=30, ge=0.2, le=600, title="Poll every (seconds)")
    """Seconds between two polls of the open batches, 0.2 to 600."""
    listing_grace_s: int = Field(
        default=600,
        ge=1,
        le=86_400,
        title="Listing grace (seconds)",
        description="A created batch is listed within this time, 1 to 86400. After a lost answer, one that is not "
        "listed by then was never created and its items are submitted again.",
    )
    create_within_s: int = Field(default=600, ge=1, le=3_600, title="Create within (seconds)")
    """Time limit for creating a batch, 1 to 3600. The grace period begins when the create ends."""

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        self.base_url, login = split_login(self.base_url)
        if login is not None:
            self.login = SecretStr(login)
        self.account = self.account.strip() or host(self.base_url)
        return self

    @property
    def given_account(self) -> str:
        """The account's name if a person entered one, empty if it is the default, the host."""
        return "" if self.account == host(self.base_url) else self.account

    def connect(self) -> "AsyncAnthropic":
        """Return a client that does not retry; close it, or use it as a context manager."""
        login = None if self.login is None else self.login.get_secret_value()
        return connect(api_key=self.api_key.get_secret_value(), base_url=self.base_url, login=login)


def host(base_url: str) -> str:
    """Return the host of an address, which is the default name of an account."""
    return urlsplit(base_url).hostname or base_url
