"""The tests of this folder with the oldest SDK, and with those between it and the newest, in environments of their own."""

from pathlib import Path

import pytest

from support.old_sdk import oldest, run_with


@pytest.mark.soak
@pytest.mark.parametrize("version", [oldest("pinecone"), "8.0.0", "9.0.0"])
def test_everything_here_passes_with_an_older_sdk(version: str, tmp_path: Path) -> None:
    also = ["pinecone[asyncio]", "grpcio", "protobuf", "needledb"]
    said = run_with(f"pinecone=={version}", "pinecone", "tests/integrations/pinecone", tmp_path, unpinned=set(), also=also)
    assert " passed" in said
    assert " failed" not in said
