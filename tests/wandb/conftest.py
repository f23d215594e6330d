"""A W&B server of the tests' own."""

from collections.abc import Iterator

import pytest

from tests.wandb.server import WandbServer


@pytest.fixture
def wandb_server() -> Iterator[WandbServer]:
    """A stand-in W&B server; at the end of the test, it must have known every operation."""
    with WandbServer() as server:
        yield server
    assert server.unknown == []
