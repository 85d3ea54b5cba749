import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_missing_client_is_an_error_that_says_what_to_install() -> None:
    code = "import sys; sys.modules['qdrant_client'] = None; import taskvec_integrations.qdrant"
    path = f"{ROOT / 'core'}:{ROOT / 'integrations'}"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("MissingExtraError: qdrant_client is not installed: pip install 'taskvec[qdrant]'\n")


def test_fastembed_is_not_needed() -> None:
    """So every other test here shows that Documents are resolved without it."""
    done = subprocess.run([sys.executable, "-c", "import fastembed"], capture_output=True, text=True, check=False)
    assert "No module named 'fastembed'" in done.stderr
