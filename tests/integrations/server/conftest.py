"""A server of the mini in float32, shared by the tests of this folder, and clients of it."""

from collections.abc import Iterator

import httpx
import pytest

from support.server.app import serving
from support.server.waiting import GUARD_SECONDS
from taskvec import Encoder


@pytest.fixture(scope="session")
def url(mini: Encoder) -> Iterator[str]:
    with serving(mini) as address:
        yield address


@pytest.fixture(scope="session")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=GUARD_SECONDS) as client:
        yield client
