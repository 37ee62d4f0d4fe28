"""The public API: every name has a docstring, and the package ships its types."""

import inspect
from importlib.resources import files

import pytest

from lanes import client


def test_the_package_contains_a_py_typed_marker() -> None:
    assert (files("lanes") / "py.typed").is_file()


@pytest.mark.parametrize("name", client.__all__)
def test_every_public_name_has_a_docstring(name: str) -> None:
    public = getattr(client, name)
    assert inspect.getdoc(public)
    if inspect.isclass(public):
        for method, one in inspect.getmembers(public, inspect.isfunction):
            assert method.startswith("_") or inspect.getdoc(one), f"{name}.{method}"
