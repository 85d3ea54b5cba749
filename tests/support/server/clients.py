"""What the packages of others are to get from our server: the library's vectors, and our sentences where something is wrong."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.loopback import JsonHandler, LoopbackServer
from support.paths import TESTS
from taskvec import Encoder, Task, Usage
from taskvec_integrations.server.errors import error_response

MODEL = "jina-embeddings-v3"
SCRIPTS = TESTS / "clients" / "scripts"
TEXTS = ["how do cats sleep", "A cat sleeps up to sixteen hours a day, mostly at daytime, and hunts at dusk.", "Tea"]
CHUNKS = ["Berlin is the capital of Germany. ", "The city has 3.8 million inhabitants. ", "It lies on the Spree."]
DIMENSIONS = 64
QUERY, PASSAGE = Task.RETRIEVAL_QUERY, Task.RETRIEVAL_PASSAGE


@dataclass(frozen=True)
class Wanted:
    """Vectors that a client asks for. signs: only whether each number is positive."""

    task: Task | None = Task.TEXT_MATCHING
    texts: tuple[str, ...] = (*TEXTS,)
    dimensions: int | None = None
    late_chunking: bool = False
    normalize: bool = True
    signs: bool = False

    def vectors(self, encoder: Encoder, usage: Usage | None = None) -> NDArray[np.float32]:
        """What the library makes of it."""
        made = encoder.encode(
            [*self.texts],
            task=self.task,
            dimensions=self.dimensions,
            late_chunking=self.late_chunking,
            normalize=self.normalize,
            usage=usage,
        )
        return (made > 0).astype(np.float32) if self.signs else made

    def mistaken(self) -> Iterator["Wanted"]:
        """The same with a mistake that a server could make."""
        for task in (*Task, None):
            if task is not self.task:
                yield replace(self, task=task)
        if len(self.texts) > 1:
            yield replace(self, late_chunking=not self.late_chunking)
        if not self.signs:
            yield replace(self, normalize=not self.normalize)


WANTED = {
    "default": Wanted(),
    "query": Wanted(QUERY),
    "query short": Wanted(QUERY, dimensions=DIMENSIONS),
    "query of one": Wanted(QUERY, (TEXTS[0],)),
    "query not normalised": Wanted(QUERY, normalize=False),
    "passage": Wanted(PASSAGE),
    "passage signs": Wanted(PASSAGE, signs=True),
    "passage late": Wanted(PASSAGE, (*CHUNKS,), late_chunking=True),
}
"""The names under which the scripts hand vectors over."""


def check(name: str, came: Any, encoder: Encoder) -> None:
    """Whether what came to a script is right. name: of WANTED or FACTS, and behind a slash how it was asked for."""
    kind = name.partition("/")[0]
    if kind in WANTED:
        same(came, WANTED[kind].vectors(encoder))
    else:
        assert FACTS[kind](came, encoder), f"{name}: {came}"


def tokens(wanted: Wanted, encoder: Encoder) -> int:
    """What it costs."""
    usage = Usage()
    wanted.vectors(encoder, usage)
    return usage.tokens


FACTS: dict[str, Callable[[Any, Encoder], bool]] = {
    "query tokens": lambda came, encoder: came == tokens(WANTED["query"], encoder),
    "passage tokens": lambda came, encoder: came == tokens(WANTED["passage"], encoder),
    "models": lambda came, encoder: MODEL in came,
    "width": lambda came, encoder: came == encoder.dimensions,
    "token ids": lambda came, encoder: "input: item 0 has token ids of another model's tokenizer" in came,
}


def same(came: Any, expected: NDArray[np.float32]) -> None:
    """Equal to 1e-5 in each number, and in the angle to what 1e-6 leaves."""
    vectors = np.array(came, dtype=np.float32)
    assert vectors.shape == expected.shape
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    assert np.all(np.sum(vectors * expected, axis=1) / lengths > 1 - 1e-6)


class Busy(LoopbackServer):
    """Refuses everything with one status, in our server's words, and counts how often it was asked."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), _BusyHandler)
        self.answer = status
        self.asked = 0


class _BusyHandler(JsonHandler):
    server: Busy

    def do_POST(self) -> None:  # noqa: N802
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked += 1
        self.reply(self.server.answer, json.loads(bytes(error_response(self.server.answer, TOO_MUCH).body)), {"Retry-After": "1"})


TOO_MUCH = "900 tokens wait for the encoder, the limit is 800"
SENTENCES = {
    "model": "'gpt-4' is not served here",
    "dimensions": "dimensions is 5000, but this model's vectors have 384: use 1 to 384",
    "key": "the key is not one of this server's keys",
    "429": TOO_MUCH,
    "503": TOO_MUCH,
}
"""What can be wrong with a request, and what our server says to it."""


def client_environment() -> dict[str, str]:
    """This process's environment, without what is of the tests, and with packages told to keep off the network.

    HF_HUB_OFFLINE would keep huggingface_hub's clients from our server, too.
    """
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HAYSTACK_TELEMETRY_ENABLED": "False", "ANONYMIZED_TELEMETRY": "False"}
    return {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "PYTHONPATH")} | quiet


def run_script(python: str, script: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What a script of tests/clients/scripts says, run by the Python of another environment."""
    command = [python, str(SCRIPTS / f"{script}.py")]
    done = subprocess.run(command, input=json.dumps(asked), env=client_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # litellm prints advice before it
    return answer
