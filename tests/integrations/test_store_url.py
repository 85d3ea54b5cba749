"""URLs of stores: how they are read and written, what they open, and what goes wrong in one sentence."""

import pickle
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from milvus_lite.server_manager import server_manager_instance

from support.loopback import JsonHandler, LoopbackServer, serving
from support.pinecone.emulator import KEY, pinecone
from support.qdrant.http import stub_qdrant
from taskvec import Encoder
from taskvec_integrations.store_url import StoreURL

HERE = str(Path.cwd())
READ = [
    ("qdrant://./index", "qdrant", f"{HERE}/index", True),
    ("qdrant://../index", "qdrant", f"{Path.cwd().parent}/index", True),
    ("qdrant:///data/index@2", "qdrant", "/data/index@2", True),
    ("qdrant://~/index", "qdrant", str(Path.home() / "index"), True),
    ("qdrant://localhost:6333/", "qdrant", "http://localhost:6333", False),
    ("qdrant+http://[::1]:6333", "qdrant", "http://[::1]:6333", False),
    ("qdrant+https://a-b.cloud.qdrant.io", "qdrant", "https://a-b.cloud.qdrant.io", False),
    ("milvus://./a.db", "milvus", f"{HERE}/a.db", True),
    ("milvus://10.0.0.7:19530", "milvus", "http://10.0.0.7:19530", False),
    ("milvus+https://in03.zillizcloud.com:443", "milvus", "https://in03.zillizcloud.com:443", False),
    ("pinecone://docs-2", "pinecone", "docs-2", False),
    ("pinecone+https://docs-2.svc.pinecone.io", "pinecone", "https://docs-2.svc.pinecone.io", False),
    ("pinecone+http://127.0.0.1:5080/indexes/docs", "pinecone", "http://127.0.0.1:5080/indexes/docs", False),
]


@pytest.mark.parametrize(("url", "kind", "location", "embedded"), READ)
def test_what_a_url_means(url: str, kind: str, location: str, embedded: bool) -> None:
    read = StoreURL.parse(url)
    assert read == StoreURL(kind, location, embedded)
    assert StoreURL.parse(str(read)) == read == pickle.loads(pickle.dumps(read))


@pytest.mark.parametrize(
    "url",
    [
        *("", "./index", "http://localhost:6333", "chroma://./index", "qdrant", "qdrant://", "qdrant://:memory:"),
        *("qdrant://data", "qdrant://localhost", "milvus://index.db", "milvus://./index", "pinecone://Docs", "pinecone://./docs"),
    ],
)
def test_what_could_mean_two_things_or_none_is_refused_with_the_forms(url: str) -> None:
    kind = url.partition(":")[0] if url.startswith(("qdrant:", "milvus:", "pinecone:")) else "qdrant"
    with pytest.raises(ValueError, match=f"{url!r} does not name a store: use .*{kind}.*a path begins with"):
        StoreURL.parse(url)


@pytest.mark.parametrize("url", ["qdrant://user:hush@h:6333", "milvus+https://h?token=hush", "hush@h", "qdrant+https://hush@h:1"])
def test_a_key_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="a key is never part of it, it is read from") as caught:
        StoreURL.parse(url)
    assert "hush" not in str(caught.value)


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that refuses connections, and that no other test can listen on meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


@contextmanager
def pinecone_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with pinecone(dimension=384) as server:
        monkeypatch.setenv("PINECONE_API_KEY", KEY)
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", server.url)
        yield f"pinecone+{server.url}"


@pytest.mark.parametrize("kind", ["qdrant path", "qdrant http", "milvus-lite", "pinecone"])
def test_a_store_of_a_url_writes_searches_and_can_be_opened_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mini: Encoder
) -> None:
    with stub_qdrant() as server, pinecone_url(monkeypatch) as index:
        url = StoreURL.parse(
            {
                "qdrant path": f"qdrant://{tmp_path}/new/index",
                "qdrant http": server.url.replace("http", "qdrant"),
                "milvus-lite": f"milvus://{tmp_path}/new/index.db",
                "pinecone": index,
            }[kind]
        )
        for written in (2, 0):
            with url.open("docs", encoder=mini, chunk_tokens=None) as store:
                assert store.exists() == (written == 0 or url.kind == "pinecone")
                assert store.ingest([("bread", "Yeast makes bread rise."), ("tides", "The moon.")]).chunks.written == written
                assert store.search("bread", limit=1)[0].document_id == "bread"


def test_a_file_of_milvus_lite_stays_open_for_those_who_still_use_it(tmp_path: Path, mini: Encoder) -> None:
    url = StoreURL.parse(f"milvus://{tmp_path}/index.db")
    with url.open("docs", encoder=mini) as store:
        store.ingest([("bread", "Yeast makes bread rise.")])
        with url.open("docs", encoder=mini) as other:
            assert other.search("bread", limit=1)[0].document_id == "bread"
        assert store.search("bread", limit=1)[0].document_id == "bread"
    assert url.location not in server_manager_instance._servers


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the client leaves the lock's file open
def test_what_another_process_has_open_is_said(tmp_path: Path) -> None:
    code = f"from qdrant_client import QdrantClient as C; c = C(path={str(tmp_path)!r}); print(1, flush=True); input(); c.close()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(RuntimeError, match=f"another process has {tmp_path} open"):
            StoreURL.parse(f"qdrant://{tmp_path}").open("docs", encoder="mini")
        other.communicate("\n")


def test_a_store_that_cannot_be_made_leaves_nothing_open(tmp_path: Path) -> None:
    url = StoreURL.parse(f"qdrant://{tmp_path}")
    with pytest.raises(ValueError, match="chunk_tokens is 1"):
        url.open("docs", encoder="mini", chunk_tokens=1)
    url.open("docs", encoder="mini").close()


def test_pinecone_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PINECONE_API_KEY", raising=False)
    with pytest.raises(ValueError, match="PINECONE_API_KEY is not set"):
        StoreURL.parse("pinecone://docs").open("docs")


class Denying(JsonHandler):
    def do_GET(self) -> None:  # noqa: N802
        self.reply(401, {"status": {"error": "Invalid api-key"}})


@pytest.mark.parametrize(("key", "state"), [("hush", "is not the right one"), (None, "is not set")])
@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_wrong_key_is_said_and_not_shown(key: str | None, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    if key:
        monkeypatch.setenv("QDRANT_API_KEY", key)
    with serving(LoopbackServer(("127.0.0.1", 0), Denying)) as server:
        url = StoreURL.parse(server.url.replace("http", "qdrant"))
        with (
            pytest.raises(
                PermissionError, match=rf"{url} refused access \(401 .*Invalid api-key\): QDRANT_API_KEY {state}"
            ) as caught,
            url.explaining(),
            url.open("docs") as store,
        ):
            store.exists()
    assert "hush" not in f"{caught.value!r}{url!r}"


@pytest.mark.parametrize("kind", ["qdrant", "milvus", "pinecone+http"])
def test_a_server_that_is_down_is_said(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PINECONE_API_KEY", raising=False)
    with silent_port() as port:
        url = StoreURL.parse(f"{kind}://127.0.0.1:{port}")
        with (
            pytest.raises(ConnectionError, match=f"{re.escape(str(url))} cannot be reached: "),
            url.explaining(),
            url.open("docs") as store,
        ):
            store.exists()


def test_errors_that_say_it_themselves_pass() -> None:
    url: Any = StoreURL.parse("qdrant://./index")
    with pytest.raises(LookupError, match="as it is"), url.explaining():
        raise LookupError("as it is")
