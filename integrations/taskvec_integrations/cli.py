"""The command line: ``taskvec demo``. Heavy imports wait until a command runs, so that help is quick."""

import importlib.metadata
import sqlite3
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from taskvec_integrations.serve import serve

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="jina-embeddings-v3 on your own hardware, native in vector stores and frameworks.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"taskvec {importlib.metadata.version('taskvec')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]


@app.callback()
def _options(version: Version = False) -> None:
    """Options that come before a command."""


@app.command()
def demo(
    question: Annotated[str | None, typer.Argument(help="Ask this; without it, a tour with questions of its own.")] = None,
    model: Annotated[str, typer.Option(help="A hub id, a folder, or mini, the small English model that comes along.")] = "mini",
    folder: Annotated[Path | None, typer.Option(help="Where the index is kept (default: the user's cache folder).")] = None,
) -> None:
    """Ask Python's language reference, indexed with late chunking in an embedded Qdrant."""
    from taskvec_integrations import demo as tour

    tour.run(question, model, folder or tour.default_folder(), Console())


app.command()(serve)


def main() -> None:
    """Run a command; an expected failure is one sentence on stderr and exit code 1."""
    try:
        app()
    except (OSError, ValueError, TypeError, ImportError, RuntimeError, MemoryError, sqlite3.Error) as error:
        print(f"taskvec: {str(error) or type(error).__name__}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
