"""How the scripts of this folder hear what to ask for, and say what they got: one JSON object in, one out."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class Asked:
    """What to ask for. wrong: changes to the rest, by name, with each of which a request fails."""

    url: str
    key: str
    model: str
    texts: list[str]
    chunks: list[str]
    dimensions: int
    wrong: dict[str, dict[str, Any]] = field(default_factory=dict)


def main(package: str, vectors: Callable[[Asked], dict[str, Any]], ask: Callable[[Asked], Any]) -> None:
    """Run `vectors`, and `ask` with everything that is wrong, and say what came.

    vectors: what was asked for, in the words of WANTED in support/server/clients.py, and behind a slash how, with what came. ask:
    one request for the vector of a query with all that is asked for, as a user writes it who expects it to work.
    """
    asked = Asked(**json.load(sys.stdin))
    answer = {"version": version(package), "got": vectors(asked), "told": {name: _told(ask, asked, name) for name in asked.wrong}}
    print(json.dumps(answer, default=_plain))


def _told(ask: Callable[[Asked], Any], asked: Asked, name: str) -> str:
    try:
        return f"no error: {ask(replace(asked, **asked.wrong[name]))!r:.100}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _plain(value: Any) -> Any:
    return value.tolist()  # arrays and numbers of numpy
