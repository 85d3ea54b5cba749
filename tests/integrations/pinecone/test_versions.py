"""The tests of this folder with the oldest SDK, in an environment of their own."""

from pathlib import Path

import pytest

from support.old_sdk import run_with_oldest


@pytest.mark.soak
def test_everything_here_passes_with_the_oldest_sdk(tmp_path: Path) -> None:
    also = ["grpcio", "protobuf", "needledb"]
    output = run_with_oldest("pinecone", "pinecone", "tests/integrations/pinecone", tmp_path, unpinned=set(), also=also)
    assert " passed" in output
    assert " failed" not in output
