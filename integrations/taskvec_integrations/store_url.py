"""Which database a URL means, and opening a store there: what the command line and clusters are given in place of a client.

Knows how URLs are written; how each database is connected to is in its own package (store.py). Keys come from the environment
of the process that opens, so that a URL can be printed, logged and pickled.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, Unpack, cast

from taskvec_integrations.extras import require
from taskvec_integrations.store import Store, StoreOptions

PATH = r"((?:\.{0,2}|~)/.+)"
SERVER = r"((?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d+)/?"
HOST = r"((?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d+)?(?:/[\w./-]*)?)"
RULE = "a path begins with ./, ../, ~/ or /, a server has a port"
ACCESS_DENIED = re.compile(r"\b40[13]\b|unauth|auth check|permission", re.IGNORECASE)
"""What the databases say where the key is missing or wrong."""


def _absolute(path: str) -> str:
    return str(Path(os.path.normpath(Path(path).expanduser().absolute())))  # the process that opens it may run elsewhere


class Form(NamedTuple):
    """One way to write a URL.

    Attributes:
        example: As messages show it.
        pattern: A regular expression with one group.
        location: Makes the location of a StoreURL from that group.
        embedded: Whether the location is a path that one process at a time can have open.
    """

    example: str
    pattern: str
    location: Callable[[str], str]
    embedded: bool = False


FORMS: Mapping[str, tuple[Form, ...]] = {
    "qdrant": (
        Form("qdrant://./FOLDER", f"qdrant://{PATH}", _absolute, embedded=True),
        Form("qdrant://HOST:6333", rf"qdrant(?:\+http)?://{SERVER}", "http://{}".format),
        Form("qdrant+https://HOST", rf"qdrant\+https://{HOST}", "https://{}".format),
    ),
    "milvus": (
        Form("milvus://./FILE.db", rf"milvus://{PATH}(?<=\.db)", _absolute, embedded=True),
        Form("milvus://HOST:19530", rf"milvus(?:\+http)?://{SERVER}", "http://{}".format),
        Form("milvus+https://HOST", rf"milvus\+https://{HOST}", "https://{}".format),
    ),
    "pinecone": (
        Form("pinecone://INDEX", r"pinecone://([a-z0-9-]+)", str),
        Form("pinecone+https://INDEX-HOST", rf"pinecone\+https://{HOST}", "https://{}".format),
        Form("pinecone+http://HOST:PORT", rf"pinecone\+http://{HOST}", "http://{}".format),
    ),
}
PLAIN = re.compile(r"[\w.:/~+\[\]-]*", re.ASCII)
"""What may be shown of a URL that is wrong."""
SECRET = re.compile(r"key|token|secret|password|pcsk_|\w{32}", re.IGNORECASE)
"""What may be a key in a URL."""
KEYS = {"qdrant": "QDRANT_API_KEY", "milvus": "MILVUS_TOKEN", "pinecone": "PINECONE_API_KEY"}
"""The environment variables that keys are taken from."""


def _refusal(url: str) -> str:
    """What is wrong with a URL, without repeating what may be a key."""
    scheme, _, rest = url.partition("://") if "://" in url else ("", "", url)
    scheme = scheme if PLAIN.fullmatch(scheme) else ""
    kind = scheme.partition("+")[0]
    accepted = [form.example for form in FORMS.get(kind, chain.from_iterable(FORMS.values()))]
    advice = f"does not name a store: use {', '.join(accepted[:-1])} or {accepted[-1]} ({RULE})"
    if not PLAIN.fullmatch(rest) or SECRET.search(url):
        keys = KEYS.get(kind) or ", ".join(KEYS.values())
        return f"{f'{scheme}://...'!r} {advice}; a key is never part of it, it is read from {keys}"
    return f"{url!r} {advice}"


class Connector(Protocol):
    """What the module store.py of each database has."""

    def connect(self, location: str, embedded: bool, key: str | None) -> tuple[Any, Callable[[], None]]:
        """A client for a StoreURL's location, and the function that closes it."""

    def make_store(self, client: Any, collection: str, **options: Unpack[StoreOptions]) -> Store:
        """A store on a collection of the client."""

    def retry_after(self, error: Exception) -> float | None:
        """As `Backend.retry_after`."""

    def reason(self, error: Exception) -> str:
        """As `Backend.reason`."""


@dataclass(frozen=True)
class StoreURL:
    """Where a database is. Holds no secret; equal URLs are equal.

    Args:
        kind: qdrant, milvus or pinecone.
        location: An absolute path, an http(s) address, or the name of a Pinecone index.
        embedded: Whether it is a path, which one process at a time can have open.

    Example:
        >>> StoreURL.parse("qdrant://./index").open("docs", encoder="mini")
    """

    kind: str
    location: str
    embedded: bool = False

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            ValueError: It has none of the accepted forms. The message lists them, and repeats nothing that may hold a key.
        """
        for kind, forms in FORMS.items():
            for form in forms:
                if match := re.fullmatch(form.pattern, url):
                    return cls(kind, form.location(match[1]), form.embedded)
        raise ValueError(_refusal(url))

    @property
    def key_variable(self) -> str:
        """The environment variable that a key for this database is read from."""
        return KEYS[self.kind]

    def open(self, collection: str, **options: Unpack[StoreOptions]) -> Store:
        """Connect to the database and open a store, whose `close` closes the client as well.

        Args:
            collection: The collection's name; in Pinecone the namespace.
            **options: The settings of every store, see `StoreOptions`.

        Raises:
            MissingExtraError: The database's package is not installed.
            ValueError: A key that is needed is not set.
            RuntimeError: Another process has the embedded database open.
            Exception: The client's own errors, where it connects at once; `explaining` says what they mean.
        """
        connector = self._connector()
        client, close = connector.connect(self.location, self.embedded, os.environ.get(self.key_variable))
        try:
            store = connector.make_store(client, collection, **options)
        except BaseException:
            close()
            raise
        return store.take_client(close)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn the client's own errors into one sentence that names this URL. Python's own errors, such as taskvec's, pass.

        Raises:
            ConnectionError: The database cannot be reached now.
            PermissionError: The key is missing or wrong.
            RuntimeError: The client raised anything else.
        """
        try:
            yield
        except (ValueError, TypeError, LookupError, ImportError, OSError, RuntimeError, MemoryError):
            raise
        except Exception as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        connector = self._connector()
        reason = " ".join(connector.reason(error).split())
        if ACCESS_DENIED.search(reason):
            state = "is not the right one" if os.environ.get(self.key_variable) else "is not set"
            return PermissionError(f"{self} refused access ({reason}): {self.key_variable} {state}")
        if connector.retry_after(error) is not None:
            return ConnectionError(f"{self} cannot be reached: {reason}")
        return RuntimeError(f"{self}: {reason}")

    def _connector(self) -> Connector:
        require(f"taskvec_integrations.{self.kind}", self.kind)
        connector: Any = require(f"taskvec_integrations.{self.kind}.store", self.kind)
        return cast(Connector, connector)

    def __str__(self) -> str:
        scheme, found, rest = self.location.partition("://")
        if not found:
            return f"{self.kind}://{self.location}"
        plain = scheme == "http" and self.kind != "pinecone"
        return f"{self.kind}://{rest}" if plain else f"{self.kind}+{scheme}://{rest}"
