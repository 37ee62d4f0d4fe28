"""A webhook connects to the checked address, and its certificate is checked against the requested name."""

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lanes import webhooks
from lanes.webhooks import Undelivered, WebhookKeys, WebhookReceiver
from tests.webhook_receiver import Receiver

NAME = "hooks.example.test"
PEM = serialization.Encoding.PEM


def certificate(folder: Path) -> Path:
    """Write a self-signed certificate of the name, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    as_pem = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = folder / "receiver.pem"
    file.write_bytes(key.private_bytes(PEM, *as_pem) + made.public_bytes(PEM))
    return file


@pytest.mark.parametrize(("host", "taken"), [(NAME, True), ("other.example.test", False)])
async def test_the_certificate_is_checked_against_the_name_at_the_checked_address(
    host: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, looked_up = certificate(tmp_path), list[str]()
    receiver = Receiver(certificate=file)

    def getaddrinfo(name: str, port: int, *more: Any) -> list[Any]:
        looked_up.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(webhooks, "_tls", lambda: ssl.create_default_context(cafile=str(file)))
    keys = WebhookKeys.new(f"https://{host}:{receiver.port}/hooks")
    receiver.secrets = [keys.secrets[0][0]]
    try:
        async with WebhookReceiver(keys, allows_private=True) as opened:
            for _ in range(2):
                if taken:
                    await opened.post("id", "{}", datetime.now(UTC))
                else:
                    with pytest.raises(Undelivered, match=r"no reply \(ConnectError\)"):
                        await opened.post("id", "{}", datetime.now(UTC))
    finally:
        receiver.stop()
    assert looked_up == [host]
    assert receiver.hosts == [f"{host}:{receiver.port}"] * 2 * taken


async def test_a_host_that_no_name_server_knows_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def getaddrinfo(*_: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    keys = WebhookKeys.new("https://nowhere.example.test/hooks")
    async with WebhookReceiver(keys, allows_private=False) as opened:
        with pytest.raises(Undelivered, match="no name server knows the host nowhere"):
            await opened.post("id", "{}", datetime.now(UTC))
