"""A server of the mini in float32, shared by the tests of this folder."""

from collections.abc import Iterator

import httpx
import pytest

from support.server.app import serving
from support.server.waiting import GUARD_SECONDS
from taskvec import Encoder


@pytest.fixture(scope="session")
def client(mini: Encoder) -> Iterator[httpx.Client]:
    with serving(mini) as url, httpx.Client(base_url=url, timeout=GUARD_SECONDS) as client:
        yield client
