"""A stand-in of its own process for the tests of one file, as it is after a reset for each of them."""

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
