"""`taskvec models`: which models there are, and which of them are on this machine."""

from pathlib import Path
from typing import NamedTuple

from huggingface_hub.constants import HF_HUB_CACHE
from rich.console import Console
from rich.text import Text

from taskvec import DEFAULT_MODEL, MINI, CheckpointError
from taskvec.checkpoint.hub import locate
from taskvec.checkpoint.read import read_checkpoint


class ModelCard(NamedTuple):
    """A model as its card describes it.

    Attributes:
        name: What `--model` takes.
        description: What sets it apart.
        license: The license of its weights.
        dimensions: The length of its vectors.
        context: Tokens that it reads at once.
        size: The size of a download.
    """

    name: str
    description: str
    license: str
    dimensions: int
    context: int
    size: str


MODEL_CARDS = (
    ModelCard(MINI, "English, small, to try things offline", "Apache-2.0", 384, 8192, "48 MB"),
    ModelCard(DEFAULT_MODEL, "some 90 languages; used unless --model says otherwise", "CC BY-NC 4.0", 1024, 8192, "1.1 GB"),
    ModelCard("jinaai/jina-embeddings-v3", "the same weights in the original layout", "CC BY-NC 4.0", 1024, 8192, "1.1 GB"),
)

NOTES = """--model takes one of these names, or a folder with such a model. A model is downloaded when it is first used;
taskvec doctor --model NAME checks it. CC BY-NC 4.0 is free for non-commercial use; for other use ask Jina AI
(https://jina.ai/contact-sales/)."""


def run(out: Console) -> None:
    """Print the models, narrow enough for any terminal."""
    for card in MODEL_CARDS:
        facts = f"1 to {card.dimensions} dimensions, {card.context} tokens of context, license {card.license}"
        out.print(Text(card.name, style="bold"))
        out.print(Text(f"    {card.description}\n    {facts}\n    {availability(card)}"), soft_wrap=True)
    out.print(Text(f"\n{NOTES}\nThe cache is {HF_HUB_CACHE}"), soft_wrap=True)


def availability(card: ModelCard) -> str:
    """Whether the model is on this machine, whether it is complete, and how large it is."""
    if card.name == MINI:
        return f"comes with taskvec ({card.size})"
    try:
        folder = locate(card.name, local_files_only=True).folder
        tasks = read_checkpoint(folder).tasks
    except ConnectionError:
        return f"not downloaded ({card.size})"
    except (OSError, CheckpointError) as error:
        return f"in the cache, but incomplete: {error}"
    return f"in the cache ({size_in_megabytes(folder)})" if tasks else "in the cache, but without its task adapters"


def size_in_megabytes(folder: Path) -> str:
    """The size of the files in a folder, links followed."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{size / 1e6:,.0f} MB"
