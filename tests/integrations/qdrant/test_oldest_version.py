from pathlib import Path

import pytest

from support.old_sdk import run_with_oldest


@pytest.mark.soak
def test_everything_here_passes_with_the_oldest_client(tmp_path: Path) -> None:
    also = ["qdrant-edge-py", "hypothesis"]
    tests = "tests/integrations/qdrant"
    output = run_with_oldest("qdrant-client", "qdrant", tests, tmp_path, unpinned={"portalocker"}, also=also)
    assert " passed" in output
    assert " failed" not in output
