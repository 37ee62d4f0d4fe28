"""What other programs may rely on says what it is, and ships its types."""

import inspect
from importlib.resources import files

import pytest

from lanes import client


def test_the_package_says_that_it_ships_its_types() -> None:
    assert (files("lanes") / "py.typed").is_file()


@pytest.mark.parametrize("name", client.__all__)
def test_every_public_name_says_what_it_does(name: str) -> None:
    public = getattr(client, name)
    assert inspect.getdoc(public)
    if inspect.isclass(public):
        for method, one in inspect.getmembers(public, inspect.isfunction):
            assert method.startswith("_") or inspect.getdoc(one), f"{name}.{method}"
