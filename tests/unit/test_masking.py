"""Addresses and texts are shown without their secrets and remain readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.text import basic_auth, has_secret, mask_address, mask_secrets, split_login


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://ada:geheim@gateway.example.com/v1", "https://***@gateway.example.com/v1"),
        ("postgresql+psycopg://ada:geheim@h:5432/d", "postgresql+psycopg://***@h:5432/d"),
        ("postgres://ada:ge/h@eim@h/d", "postgres://***@h/d"),
        ("https://geheim@gateway.example.com", "https://***@gateway.example.com"),
        (
            "postgres://h/d?user=ada&password=geheim&sslmode=require",
            "postgres://h/d?user=ada&password=***&sslmode=require",
        ),
        (
            "postgres://h/d?sslkey=/k.pem&sslpassword=geheim",
            "postgres://h/d?sslkey=/k.pem&sslpassword=***",
        ),
        ("host=h password=geheim dbname=d", "host=h password=*** dbname=d"),
        ("host=h sslpassword = 'ge \\' heim' dbname=d", "host=h sslpassword = *** dbname=d"),
        (
            "https://gateway.example.com/v1?api_key=geheim",
            "https://gateway.example.com/v1?api_key=***",
        ),
        (
            'tried "https://ada:geheim@h/d", and then it ended',
            'tried "https://***@h/d", and then it ended',
        ),
        ("host=h passfile=/home/ada/.pgpass", "host=h passfile=/home/ada/.pgpass"),
        ("https://api.anthropic.com", "https://api.anthropic.com"),
        (
            "3 of 4 answers, and ada@example.com was told",
            "3 of 4 answers, and ada@example.com was told",
        ),
    ],
)
def test_a_text_is_shown_without_its_secrets(text: str, told: str) -> None:
    assert mask_secrets(text) == told
    assert has_secret(text) is (told != text)


SECRET = st.text("0123456789abcXYZ!$%+-._~", min_size=6)
FORMS = [
    "https://ada:{}@h/v1",
    "postgres://h/d?password={}",
    "postgres://h/d?sslpassword={}&a=1",
    "host=h password={}",
]


@given(SECRET, st.sampled_from(FORMS))
def test_no_secret_of_an_address_is_ever_shown(secret: str, form: str) -> None:
    address = form.format(secret)
    assert secret not in mask_secrets(address).replace("password", "")
    assert secret not in mask_address(address).replace("password", "")


@pytest.mark.parametrize(
    ("address", "bare", "login"),
    [
        ("https://ada:ge%40heim@h:8443/v1", "https://h:8443/v1", "ada:ge@heim"),
        ("https://h/v1", "https://h/v1", None),
        ("https://h/teams/@ada", "https://h/teams/@ada", None),
    ],
)
def test_a_login_is_separated_from_its_address(address: str, bare: str, login: str | None) -> None:
    assert split_login(address) == (bare, login)
    assert bool(basic_auth(login)) is (login is not None)
    assert mask_address(address) in (bare, "https://***@ada")
