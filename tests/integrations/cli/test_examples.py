"""examples/ingest_cli.md: its commands run one after another in an empty folder, and do what the page says."""

import re
import subprocess
import sys
from pathlib import Path

from cli_support import COMMAND, ENVIRONMENT, ROOT

PAGE = (ROOT / "examples" / "ingest_cli.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


def test_every_command_of_the_page(tmp_path: Path) -> None:
    assert len(BLOCKS) == 7
    program = tmp_path / "bin" / "taskvec"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    folder = tmp_path / "empty"
    folder.mkdir()
    env = {**ENVIRONMENT, "PATH": f"{program.parent}:{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}"}
    script = "set -euo pipefail\n" + "echo '#####'\n".join(BLOCKS)
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, again, rows, *_ = done.stdout.split("#####")
    assert "cat.md · chunk 0" in first
    assert re.search(r"documents │ +2 │ +1 │ +1 │ +1 │", again)
    assert '"document_id": "/ulm", "chunk": 0' in rows.splitlines()[-2]
    assert (folder / "vectors.parquet").exists()
    assert (folder / "two.npy").exists()
