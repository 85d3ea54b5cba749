"""examples/ingest_cli.md: its commands run one after another in an empty folder, and do what the page says."""

import re
import subprocess
from pathlib import Path

from support.command_line import ENVIRONMENT, PROGRAM
from support.paths import ROOT

PAGE = (ROOT / "examples" / "ingest_cli.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


def test_every_command_of_the_page(tmp_path: Path) -> None:
    assert len(BLOCKS) == 7
    env = {**ENVIRONMENT, "PATH": f"{PROGRAM.parent}:{ENVIRONMENT['PATH']}"}
    script = "set -euo pipefail\n" + "echo '#####'\n".join(BLOCKS)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    first, again, rows, *_ = done.stdout.split("#####")
    assert "notes/cat.md · chunk 0" in first
    assert re.search(r"documents │ +2 │ +1 │ +1 │ +1 │", again)
    assert '"document_id": "/ulm", "chunk": 0' in next(line for line in rows.splitlines() if line.startswith("{"))
    assert (tmp_path / "vectors.parquet").exists()
    assert (tmp_path / "two.npy").exists()
