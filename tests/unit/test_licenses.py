"""`make check` takes a licence for what it says: what is unknown, or said differently by a new version, is a finding."""

from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from tests.check_licenses import ALLOWED, is_fine, problems


class Installed(Distribution):
    """A distribution that states these fields."""

    def __init__(self, name: str, fields: dict[str, str]) -> None:
        self.told = Message()
        for field, value in {"Name": name, "Version": "1", **fields}.items():
            self.told[field] = value

    @property
    def metadata(self) -> Any:
        return self.told

    def read_text(self, filename: str) -> None:
        return None

    def locate_file(self, path: Any) -> Path:
        return Path(path)


@pytest.mark.parametrize(
    ("stated", "fine"),
    [
        ("MIT", True),
        ("MIT AND PSF-2.0", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("Apache-2.0 AND (MIT OR GPL-3.0-only)", True),
        ("GPL-3.0-only AND (MIT OR Apache-2.0)", False),
        ("(MIT", False),
        ("MIT MIT", False),
        ("", False),
    ],
)
def test_every_part_of_an_and_is_allowed_and_one_of_an_or(stated: str, fine: bool) -> None:
    assert is_fine(stated, ALLOWED.__contains__) is fine


@pytest.mark.parametrize(
    ("name", "fields", "fine"),
    [
        ("new", {"License-Expression": "MIT"}, True),
        ("new", {"License": "MIT"}, True),
        ("new", {"Classifier": "License :: OSI Approved :: MIT License"}, True),
        ("new", {"License": "whatever the author likes"}, False),
        ("new", {}, False),
        ("new", {"License-Expression": "AGPL-3.0-only"}, False),
        ("psycopg_binary", {"License-Expression": "LGPL-3.0-only"}, True),
        ("psycopg_binary", {"License-Expression": "AGPL-3.0-only"}, False),
        ("new", {"License-Expression": "LGPL-3.0-only"}, False),
        ("lanes", {}, True),
    ],
)
def test_an_exception_is_of_one_distribution_and_one_licence(
    name: str, fields: dict[str, str], fine: bool
) -> None:
    assert (problems([Installed(name, fields)]) == []) is fine
