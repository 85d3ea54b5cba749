"""Where a model's files lie: a local folder or the Hugging Face hub and its cache. Reads no weights."""

import errno
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_OFFLINE
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from taskvec.names import DEFAULT_MODEL, MINI

# Everything a model needs and nothing that could run code or is another format (onnx, pickles).
DOWNLOAD_PATTERNS = ["*.json", "*.safetensors"]

LICENSE_NOTICE = (
    "The jina-embeddings-v3 weights are licensed CC BY-NC 4.0: free for non-commercial use; for any other, ask Jina AI."
)

log = logging.getLogger("taskvec")


@dataclass(frozen=True)
class Located:
    """A model folder on disk; `commit` is the hub commit it is a snapshot of, None for a user's own folder."""

    folder: Path
    model_id: str
    commit: str | None


def locate(
    model: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | None = None,
) -> Located:
    """Find the bundled model, a local folder or a hub model, which is downloaded if need be.

    Args:
        model: "mini", a folder or a hub id.
        revision: As in `Encoder.from_pretrained`, and so are the others.
        cache_dir: Where the hub's files are kept.
        local_files_only: Never use the network.
        token: An access token of the hub.

    Raises:
        FileNotFoundError: There is no such folder, model or revision.
        PermissionError: The model is gated.
        ConnectionError: The model is not in the cache and cannot be downloaded.
        OSError: The disk is full, or cannot be written.
        ValueError: The name is not one, or a folder came with a revision.
    """
    folder = Path(__file__).parents[1] / MINI if model == MINI else Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            kind = "the bundled model" if model == MINI else "a local folder"
            raise ValueError(f"{model} is {kind}, which has no revision {revision!r}: leave revision out")
        return Located(folder, model, None)
    if re.match(r"[./~]|.*[/\\].*[/\\]|.:\\", model):
        raise FileNotFoundError(f"there is no model folder {model}: name an existing folder or a hub id like {DEFAULT_MODEL}")
    try:
        if not (local_files_only or HF_HUB_OFFLINE or try_to_load_from_cache(model, "config.json", cache_dir, revision)):
            log.warning("Downloading %s. %s", model, LICENSE_NOTICE)
        path = snapshot_download(
            model,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=DOWNLOAD_PATTERNS,
        )
    except Exception as error:  # the hub's HTTP library differs between its versions
        offline = "local_files_only=True" if local_files_only else "HF_HUB_OFFLINE" if HF_HUB_OFFLINE else ""
        raise _explain(error, model, revision, offline) from None
    return Located(Path(path), model, Path(path).name)


# First match wins, so a subclass stands before its base: exception, what to raise, the sentence.
FAILURES: list[tuple[type[Exception], Callable[[str], Exception], str]] = [
    (HFValidationError, ValueError, "{model!r} is neither a folder nor a hub id like {default}"),
    (
        GatedRepoError,
        PermissionError,
        "{model} is gated: accept its terms on https://huggingface.co/{model}, then pass token= or run `hf auth login`",
    ),
    (
        RepositoryNotFoundError,
        FileNotFoundError,
        "the hub has no model {model}, or it is private: check the spelling, or pass token= if it is yours",
    ),
    (
        RevisionNotFoundError,
        FileNotFoundError,
        "{model} has no revision {revision!r}: leave revision out for the newest, or name a branch, tag or commit of it",
    ),
    (
        LocalEntryNotFoundError,
        ConnectionError,
        "{model} is not (completely) in the local cache and {why}: connect once and "
        "load it with HF_HUB_OFFLINE unset and local_files_only=False, or copy its folder here and pass the path",
    ),
    (
        HfHubHTTPError,
        ConnectionError,
        "the hub answered with an error for {model} ({error}): try again later; finished files are kept",
    ),
]


def _explain(error: Exception, model: str, revision: str | None, offline: str) -> Exception:
    why = f"{offline} forbids a download" if offline else "the hub cannot be reached"
    details = {"model": model, "revision": revision, "error": _first_line(error), "default": DEFAULT_MODEL, "why": why}
    for kind, result, sentence in FAILURES:
        if isinstance(error, kind):
            return result(sentence.format(**details))
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return OSError(
            errno.ENOSPC,
            f"no space left to download {model} (about 1.2 GB): free some, or pass cache_dir= on another disk; "
            "finished files are kept",
        )
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return error
    return ConnectionError(
        f"the download of {model} was interrupted ({_first_line(error)}): run it again, finished files are kept"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
