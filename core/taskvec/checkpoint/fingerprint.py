"""Which weights made a vector: a short string that changes when the model does. Knows files, not tensors."""

import hashlib
import json
import tempfile
from pathlib import Path

from huggingface_hub.constants import HF_HOME

from taskvec.checkpoint.hub import Located
from taskvec.tasks import Task

POOLING = "mean"

# What the loader reads; other files in the folder may come and go.
FINGERPRINTED_FILES = ["config.json", "config_sentence_transformers.json", "tokenizer.json", "model*.safetensors*"]
FINGERPRINTED_FILES += [f"{task.adapter}/adapter_*" for task in Task]


def fingerprint(located: Located) -> str:
    """`model@commit/mean` for a hub model, `sha256:.../mean` (digest of the files it is read from) for a folder."""
    if located.commit:
        return f"{located.model_id}@{located.commit}/{POOLING}"
    return f"sha256:{folder_digest(located.folder)}/{POOLING}"


def folder_digest(folder: Path, cache: Path | None = None) -> str:
    """SHA-256 over the relative names and contents of a model's files, cached by their sizes and times."""
    cache = cache or Path(HF_HOME) / "taskvec" / "fingerprints.json"
    files = sorted({path for pattern in FINGERPRINTED_FILES for path in folder.glob(pattern) if path.is_file()})
    names = [path.relative_to(folder).as_posix() for path in files]
    stats = [(name, (stat := path.stat()).st_size, stat.st_mtime_ns) for name, path in zip(names, files, strict=True)]
    key = hashlib.sha256(json.dumps([str(folder.resolve()), stats]).encode()).hexdigest()
    known = _read(cache)
    if key not in known:
        digest = hashlib.sha256()
        for name, path in zip(names, files, strict=True):
            with path.open("rb") as file:
                digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        known[key] = digest.hexdigest()
        _write(cache, known)
    return known[key]


def _read(cache: Path) -> dict[str, str]:
    try:
        content = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(cache: Path, content: dict[str, str]) -> None:
    """Replace the cache file in one step; a folder that cannot be written only costs the next process the time."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache.parent, delete=False) as file:
            json.dump(content, file)
        Path(file.name).replace(cache)
    except OSError:
        return
