"""The packages that people use, unmodified, in environments of their own, against `taskvec serve` with the mini in float32.

What each can be told, and what it shows of our sentences, is in the table; README.md of examples/serve says it to users.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from support.loopback import serving as serving_loopback
from support.old_sdk import environment, pins
from support.paths import ROOT
from support.server.clients import CHUNKS, DIMENSIONS, MODEL, SENTENCES, TEXTS, Busy, check, client_environment, run_script
from support.server.process import served
from taskvec import Encoder

pytestmark = pytest.mark.soak

KEY = "a-key-of-the-tests"
README = (ROOT / "examples" / "serve" / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.S)
ENVIRONMENTS = {
    "pinned": [
        "chromadb",
        "huggingface_hub",
        "jina-haystack",
        "litellm",
        "llama-index-embeddings-jinaai",
        "llama-index-embeddings-text-embeddings-inference",
        "openai",
        "pillow",
        "pinecone",
        "pymilvus",
        "pymilvus.model",
    ],
    "newest": ["huggingface_hub==2.4.0", "litellm==1.110.2", "numpy", "openai==3.57.0"],
    "langchain": ["langchain-openai==1.7.4", "openai==3.57.0"],
}
"""Packages of each environment; those that name no version have that of constraints.txt."""


@dataclass(frozen=True)
class Package:
    """A script and where it runs. unsent: wrong things that the package has no way to send. hidden: whose sentence it hides.

    tries: how often it asks a server that answers 429, and one that answers 503.
    """

    script: str
    environment: str = "pinned"
    unsent: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    tries: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        return f"{self.script}-{self.environment}"


EVERYTHING = {*SENTENCES}
PACKAGES = [
    Package("chroma_jina"),
    Package("haystack_jina"),
    Package("huggingface", unsent={"model"}),
    Package("huggingface", "newest", unsent={"model"}),
    Package("langchain_openai_client", "langchain", tries=(3, 3)),
    Package("litellm_jina"),
    Package("litellm_jina", "newest"),
    Package("litellm_openai", tries=(3, 3)),
    Package("litellm_openai", "newest", tries=(3, 3)),
    Package("llama_index_jina"),
    Package("llama_index_jina_async", hidden=EVERYTHING),
    Package("llama_index_tei", unsent={"model", "dimensions"}, hidden=EVERYTHING),
    Package("openai_client", tries=(3, 3)),
    Package("openai_client", "newest", tries=(3, 3)),
    Package("pinecone_inference", tries=(4, 4)),
    Package("pymilvus_jina"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `taskvec serve` listens, with a key, recognizing instructions."""
    log = tmp_path_factory.mktemp("serve") / "log"
    with served(log, "--dtype=float32", "--recognize-instructions", TASKVEC_API_KEYS=KEY) as server:
        yield server.url
        said = log.read_text()
    assert "status=200" in said
    assert not [secret for secret in (KEY, *TEXTS) if secret in said]


@pytest.fixture(scope="module")
def python(pytestconfig: pytest.Config) -> Callable[[str], str]:
    """The Python of an environment, which is kept in pytest's cache as long as its packages are the same."""

    @cache
    def of(name: str) -> str:
        wanted, pinned = ENVIRONMENTS[name], pins() if name == "pinned" else []
        digest = hashlib.sha256(repr((sys.version, wanted, pinned)).encode()).hexdigest()
        folder = pytestconfig.cache.mkdir(f"clients-{name}")
        done = folder / "digest"
        if not done.exists() or done.read_text() != digest:
            shutil.rmtree(folder)
            folder.mkdir()
            environment(folder, wanted, pinned)
            done.write_text(digest)
        return str(folder / "venv" / "bin" / "python")

    return of


@dataclass
class Answer:
    """What a package's script said, and how often servers that refuse everything were asked: 429, 503."""

    package: Package
    version: str
    got: dict[str, Any]
    told: dict[str, str]
    asked: tuple[int, int]


@pytest.fixture(scope="module", params=PACKAGES, ids=str)
def answer(request: pytest.FixtureRequest, url: str, python: Callable[[str], str]) -> Answer:
    package: Package = request.param
    with serving_loopback(Busy(429)) as full, serving_loopback(Busy(503)) as closing:
        wrong = {
            "model": {"model": "gpt-4"},
            "dimensions": {"dimensions": 5000},
            "key": {"key": "another-key"},
            "429": {"url": full.url},
            "503": {"url": closing.url},
        }
        asked = {"url": url, "key": KEY, "model": MODEL, "texts": TEXTS, "chunks": CHUNKS, "dimensions": DIMENSIONS}
        said = run_script(python(package.environment), package.script, {**asked, "wrong": wrong})
        return Answer(package, said["version"], said["got"], said["told"], (full.asked, closing.asked))


def test_vectors_are_the_library_s(answer: Answer, mini: Encoder) -> None:
    kinds = {name.partition("/")[0] for name in answer.got}
    assert "passage" in kinds
    assert kinds & {"query", "query short"}
    for name, came in answer.got.items():
        check(name, came, mini)


def test_users_read_our_sentences(answer: Answer) -> None:
    for name, sentence in SENTENCES.items():
        if name in answer.package.unsent:
            assert answer.told[name].startswith("no error"), answer.told[name]
        else:
            assert not answer.told[name].startswith("no error"), name
            assert (sentence in answer.told[name]) is (name not in answer.package.hidden), answer.told[name]


def test_how_often_it_tries_where_a_server_is_busy(answer: Answer) -> None:
    assert answer.asked == answer.package.tries


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_programs_of_the_readme_run(url: str, python: Callable[[str], str], number: int) -> None:
    program = PROGRAMS[number].replace("http://127.0.0.1:8080", url).replace('"unused"', repr(KEY))
    assert url in program
    done = subprocess.run(
        [python("pinned"), "-c", program], env=client_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
