"""Build the wheel, install it alone into a clean environment and use it there, as a user would. Run by `make test`."""

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from support.paths import ROOT

EXPECTED = {
    "taskvec/encoder.py",
    "taskvec/kernels/attention.c",
    "taskvec/kernels/linear.c",
    "taskvec/py.typed",
    "taskvec/mini/model.safetensors",
    "taskvec/mini/text_matching/adapter_model.safetensors",
    "taskvec_integrations/py.typed",
    "haystack_integrations/components/embedders/taskvec/document_embedder.py",
    "haystack_integrations/components/embedders/taskvec/py.typed",
}
NAMESPACES = ("haystack_integrations/", "haystack_integrations/components/", "haystack_integrations/components/embedders/")

USE = """
import sys
from pathlib import Path

import taskvec

assert "site-packages" in taskvec.__file__, taskvec.__file__
sys.path.append({tests!r})
from support.checkpoints import random_weights, write_native, write_original

for write in (write_native, write_original):
    folder = write(Path({folder!r}) / write.__name__, random_weights())
    with taskvec.Encoder.from_pretrained(folder) as encoder:
        documents = encoder.encode_documents(["bread rises", "the sky glows"], late_chunking=True, dimensions=16)
        query = encoder.encode_queries("why?", dimensions=16)
        assert documents.shape == (2, 16) and query.shape == (16,), (documents.shape, query.shape)
        assert taskvec.quantize(documents, "ubinary").shape == (2, 2)
with taskvec.Encoder.from_pretrained("mini") as encoder:
    documents = encoder.encode_documents(["Yeast makes bread rise.", "The moon pulls at the sea."])
    assert (documents @ encoder.encode_queries("why are there tides?")).argmax() == 1
for name in ("transformers", "peft", "pytest"):
    assert name not in sys.modules, name
"""


def run(*command: str | Path, **env: str) -> None:
    """Run a command and stop with its output where it fails."""
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, env={**os.environ, **env})


def main() -> None:
    """Wheel, environment, smoke."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ".")
        (wheel,) = folder.glob("*.whl")
        names = set(zipfile.ZipFile(wheel).namelist())
        assert names >= EXPECTED, f"the wheel lacks {EXPECTED - names}"
        assert not {f"{namespace}__init__.py" for namespace in NAMESPACES} & names, names
        assert not any(name.startswith(("tests/", "core/", "integrations/")) for name in names), names
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
        script = USE.format(tests=str(ROOT / "tests"), folder=str(folder))
        run(python, "-W", "error", "-c", script, PYTHONPATH="", PYTHONSAFEPATH="1")
        for arguments in (["--version"], ["models"], ["embed", "hello", "--model", "mini"], ["doctor"]):
            run(folder / "venv" / "bin" / "taskvec", *arguments)
        missing = subprocess.run([folder / "venv" / "bin" / "taskvec", "demo"], capture_output=True, text=True, check=False)
        assert (missing.returncode, missing.stdout) == (1, ""), missing
        assert "pip install 'taskvec[qdrant]'" in missing.stderr, missing.stderr
        print(f"smoke test of {wheel.name}: passed")


if __name__ == "__main__":
    main()
