"""What the tests of the ingestion share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskvec import Encoder


@pytest.fixture(scope="session")
def small(short_folder: Path) -> Iterator[Encoder]:
    """An encoder that works in blocks of 512 characters."""
    with Encoder.from_pretrained(short_folder, dtype="float32", device="cpu", max_batch_tokens=16) as encoder:
        yield encoder
