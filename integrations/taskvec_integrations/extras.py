"""What each extra of the distribution brings, and importing it, with the command that installs it where it is missing."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType

STORE = ("semchunk", "tenacity")
"""What every store needs beside its database's client."""
EXTRAS: Mapping[str, Sequence[str]] = {
    "store": STORE,
    "qdrant": ("qdrant_client", *STORE),
    "milvus": ("pymilvus", "ml_dtypes", *STORE),
    "pinecone": ("pinecone", "orjson", *STORE),
    "haystack": ("haystack",),
    "llama-index": ("llama_index.core",),
    "server": ("fastapi", "fastapi_offline", "uvicorn", "orjson", "prometheus_client", "pydantic_settings"),
    "ray": ("ray", "pyarrow", *STORE),
    "parquet": ("pyarrow",),
}
"""The modules that must be there for each extra that users install; pyproject.toml says which distributions have them."""


class MissingExtraError(ImportError):
    """A package that an optional part of taskvec needs is not installed; the message has the command that installs it."""


def require_extra(extra: str) -> None:
    """Import all modules of an extra.

    Args:
        extra: A key of `EXTRAS`.

    Raises:
        MissingExtraError: One of them is not installed.
    """
    for module in EXTRAS[extra]:
        require(module, extra)


def require(module: str, extra: str) -> ModuleType:
    """Import a module that an extra brings.

    Args:
        module: Its dotted name.
        extra: The extra that the error names.

    Raises:
        MissingExtraError: The module is not installed.
        ModuleNotFoundError: Something that the module imports is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # what is missing is neither the module nor its package
            raise
        raise MissingExtraError(f"{module} is not installed: pip install 'taskvec[{extra}]'", name=error.name) from None
