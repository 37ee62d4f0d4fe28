"""Fixtures that share a stand-in process among the tests of a file, and reset it before each test."""

from collections.abc import Iterator

import pytest

from anthropic_standin.testing import Endpoint, running_endpoint


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with running_endpoint(tmp_path_factory.mktemp("echo"), "--engine", "echo") as endpoint:
        yield endpoint


@pytest.fixture
def echo(shared: Endpoint) -> Endpoint:
    shared.reset()
    return shared
