"""Webhooks go only to addresses of the public internet, never to a wrapped private one; their keys are in secret blocks."""

from datetime import UTC, datetime

import pytest
from prefect.blocks.system import Secret
from pydantic import SecretStr

from lanes.webhooks import WebhookKeys, block_name, is_public
from tasks.webhooks import load_keys


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("ff02::1", False),
    ],
)
def test_only_addresses_of_the_public_internet_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_the_keys_come_from_a_secret_block_of_prefect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = WebhookKeys.new("https://crm.example.com/hooks").rotate(datetime.now(UTC))
    blocks = {block_name("crm"): Secret[str](value=SecretStr(keys.dump()))}

    async def load(name: str) -> Secret[str]:
        return blocks[name]

    monkeypatch.setattr(Secret, "aload", load)
    assert await load_keys("crm") == keys
