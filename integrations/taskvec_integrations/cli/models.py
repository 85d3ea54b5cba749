"""`taskvec models`: which models there are, and which of them are on this machine."""

from pathlib import Path
from typing import NamedTuple

from huggingface_hub.constants import HF_HUB_CACHE
from rich.console import Console
from rich.text import Text

from taskvec import CheckpointError
from taskvec.checkpoint.hub import locate
from taskvec.checkpoint.read import read_checkpoint
from taskvec.integration import DEFAULT_MODEL, MINI


class Known(NamedTuple):
    """A model as its card describes it."""

    name: str
    what: str
    licence: str
    dimensions: int
    context: int
    size: str


KNOWN = (
    Known(MINI, "English, small, to try things offline", "Apache-2.0", 384, 8192, "48 MB"),
    Known(DEFAULT_MODEL, "some 90 languages; used unless --model says otherwise", "CC BY-NC 4.0", 1024, 8192, "1.1 GB"),
    Known("jinaai/jina-embeddings-v3", "the same weights in the original layout", "CC BY-NC 4.0", 1024, 8192, "1.1 GB"),
)

NOTES = """--model takes one of these names, or a folder with such a model. It is downloaded when it is first used;
taskvec doctor --model NAME checks it. CC BY-NC 4.0 is free for non-commercial use, for the rest ask Jina AI
(https://jina.ai/contact-sales/)."""


def run(out: Console) -> None:
    """Print them, narrow enough for any terminal."""
    for model in KNOWN:
        facts = f"1 to {model.dimensions} dimensions, {model.context} tokens of context, licence {model.licence}"
        out.print(Text(model.name, style="bold"))
        out.print(Text(f"    {model.what}\n    {facts}\n    {state(model)}"), soft_wrap=True)
    out.print(Text(f"\n{NOTES}\nThe cache is {HF_HUB_CACHE}"), soft_wrap=True)


def state(model: Known) -> str:
    """Whether the model is on this machine, whole, and how large it is."""
    if model.name == MINI:
        return f"comes with taskvec ({model.size})"
    try:
        folder = locate(model.name, local_files_only=True).folder
        tasks = read_checkpoint(folder).tasks
    except ConnectionError:
        return f"not downloaded ({model.size})"
    except (OSError, CheckpointError) as error:
        return f"in the cache, but incomplete: {error}"
    return f"in the cache ({megabytes(folder)})" if tasks else "in the cache, but without its task adapters"


def megabytes(folder: Path) -> str:
    """The size of what is in a folder, links followed."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{size / 1e6:,.0f} MB"
