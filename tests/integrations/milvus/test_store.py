"""What is Milvus's own in MilvusStore: the rest is the contract of every store (tests/contract)."""

import asyncio
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from pymilvus import AsyncMilvusClient, MilvusClient

from support.milvus.checks import on
from taskvec import Encoder
from taskvec_integrations.milvus import MilvusStore, TaskvecMilvusClient, backend
from taskvec_integrations.milvus.backend import quote
from taskvec_integrations.store import Document

CHUNKS = ["Marie Curie was born in Warsaw.", "She shared the Nobel Prize in Physics.", "Her daughter won another."]


@on("server")
def test_a_real_server_from_first_run_to_edit(plain: MilvusClient, mini: Encoder, name: str) -> None:
    store = MilvusStore(plain, name, encoder=mini, dimensions=64, late_chunking=True)
    documents: list[Document | tuple[str, str]] = [
        Document("curie", chunks=CHUNKS, payload={"kind": "person", "year": 1867}),
        ("bread", "Yeast makes bread rise."),
    ]
    report = asyncio.run(store.aingest(documents))
    assert (report.chunks.written, report.documents.failed) == (4, 0)
    (hit,) = store.search("Which prize was shared?", 1)
    vectors = mini.encode_documents(CHUNKS, dimensions=64, late_chunking=True)
    scores = vectors @ mini.encode_queries("Which prize was shared?", dimensions=64)
    assert (hit.document_id, hit.chunk, hit.payload) == ("curie", int(scores.argmax()), {"kind": "person", "year": 1867})
    assert hit.score == pytest.approx(float(scores.max()), abs=1e-5)
    report = store.ingest([Document("curie", chunks=CHUNKS[:2], payload={"kind": "laureate"}), documents[1]])
    assert (report.chunks.encoded, report.chunks.written, report.chunks.deleted, report.documents.skipped) == (2, 2, 1, 1)
    hits = store.search("Who?", filter='kind == "laureate"')
    assert {(hit.chunk, *hit.payload) for hit in hits} == {(0, "kind"), (1, "kind")}


@on("lite", "server-soak")
def test_what_milvus_refuses_is_named_and_the_rest_lands(plain: MilvusClient, mini: Encoder, name: str, uri: str) -> None:
    store = MilvusStore(plain, name, encoder=mini, dimensions=8, chunk_tokens=None)
    bad = [
        Document("long", f"word{' ' * 66_000}word"),
        Document("key", "text", payload={"id": 1}),
        Document("meta", "text", payload={"$meta": 1}),
        Document("huge", "text", payload={"number": 2**70}),
    ]
    strange = ['qu"ote', "apos'", "back\\slash", "new\nline", "carriage\r", "tab\t", "nul\0", "bell\a", "ünï 😀", "{a} %", " "]
    report = store.ingest([*bad, *((id, "A text.") for id in strange)])
    reasons = {failure.document_id: failure.reason for failure in report.failed}
    assert {"long", "key", "meta"} <= reasons.keys() <= {"long", "key", "meta", "huge"}  # pymilvus 2.6.0 stores huge numbers
    assert re.fullmatch(r"(6|1100): .*65535.*", reasons["long"])
    assert "its payload has the key 'id', which is a field of the collection: rename it" in reasons["key"]
    assert report.documents.written == len(strange) + len(bad) - len(reasons)
    again = store.ingest((id, "A text.") for id in strange)
    assert (again.documents.skipped, again.chunks.encoded) == (len(strange), 0)


@on("lite")
@pytest.mark.parametrize("call", ["delete", "second upsert"])
def test_a_run_that_ends_between_a_row_and_its_old_fields_is_mended(
    plain: MilvusClient, mini: Encoder, name: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    MilvusStore(plain, name, encoder=mini, dimensions=8).ingest([Document("a", "old", payload={"gone": 1, "v": 1})])
    new = Document("a", "new", payload={"v": 2})
    upserts, upsert = [0], plain.upsert

    def gone(*args: Any, **kwargs: Any) -> Any:
        upserts[0] += 1
        if call == "delete" or upserts[0] == 2:
            raise RuntimeError("the machine is gone")
        return upsert(*args, **kwargs)

    store = MilvusStore(plain, name, encoder=mini, dimensions=8)
    with monkeypatch.context() as patch:
        patch.setattr(plain, call.removeprefix("second "), gone)
        with pytest.raises(RuntimeError, match="the machine is gone"):
            store.ingest([new])
    assert MilvusStore(plain, name, encoder=mini, dimensions=8).ingest([new]).chunks.written == 1
    (hit,) = MilvusStore(plain, name, encoder=mini, dimensions=8).search("new")
    assert (hit.text, hit.payload) == ("new", {"v": 2})


@on("lite")
def test_an_edit_without_an_old_field_that_is_refused_leaves_the_row(plain: MilvusClient, short: Encoder, name: str) -> None:
    store = MilvusStore(plain, name, encoder=short, dimensions=8, chunk_tokens=None)
    store.ingest([Document("a", "old", payload={"gone": 1})])
    assert store.ingest([Document("a", "long " * 20_000, payload={"v": 2})]).failed
    (hit,) = store.search("old")
    assert (hit.text, hit.payload) == ("old", {"gone": 1})


CLIENT_CALLS = set(re.findall(r"self\._client\.(\w+)\(", inspect.getsource(backend)))


@on("lite")
@pytest.mark.parametrize("indexed", [True, False], ids=["", "cut short"])
def test_no_call_waits_forever(
    plain: MilvusClient, mini: Encoder, name: str, monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    waiting, called = set(), set()

    def watched(method: str) -> Callable[..., Any]:
        call = getattr(plain, method)

        def watch(*args: Any, **kwargs: Any) -> Any:
            called.add(method)
            if not kwargs.get("timeout"):
                waiting.add(method)
            return call(*args, **kwargs)

        return watch

    store = MilvusStore(plain, name, encoder=mini, dimensions=8)
    store.ingest([("a", "text")])
    if indexed:
        plain.drop_collection(name)
    else:
        plain.release_collection(name)
        plain.drop_index(name, "vector")
    for method in CLIENT_CALLS:
        monkeypatch.setattr(plain, method, watched(method))
    store = MilvusStore(plain, name, encoder=mini, dimensions=8)
    store.ingest([Document("a", "text", payload={"old": 1})])
    store.ingest([("a", "edited")])
    store.search("text")
    assert not waiting
    assert called >= CLIENT_CALLS - {"alter_collection_properties", "create_collection" if not indexed else "create_index"}


def test_our_own_client_serves_too(uri: str, mini: Encoder, name: str) -> None:
    client = TaskvecMilvusClient(uri, encoder=mini, text_field="text")
    store = MilvusStore(client, name, encoder=mini, dimensions=8)
    store.ingest([("a", "A text.")])
    assert client.search(name, ["A text."], limit=1)[0][0]["id"] == store.search("A text.")[0].id
    client.close()


def test_nonsense_is_refused(plain: MilvusClient, mini: Encoder, name: str) -> None:
    with pytest.raises(TypeError, match="a MilvusClient was expected"):
        MilvusStore(AsyncMilvusClient, name)
    with pytest.raises(ValueError, match="precision is 'binary', whose vectors have no cosine: use float32, float16"):
        MilvusStore(plain, name, precision="binary")
    with pytest.raises(ValueError, match=r"milvus-lite 3\.\d+\.\d+ has no FLOAT16_VECTOR"):
        MilvusStore(plain, name, encoder=mini, precision="float16").ingest(["text"])
    assert not plain.has_collection(name)


def test_literals_are_quoted_as_milvus_reads_them() -> None:
    assert quote('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'
