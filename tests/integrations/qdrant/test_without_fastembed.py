import subprocess
import sys


def test_fastembed_is_not_needed() -> None:
    """So every other test here shows that Documents are embedded without it."""
    done = subprocess.run([sys.executable, "-c", "import fastembed"], capture_output=True, text=True, check=False)
    assert "No module named 'fastembed'" in done.stderr
