"""What Haystack expects of a component: tasks, life, dicts, secrets, devices, precisions, and errors that help."""

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice, Secret

from haystack_integrations.components.embedders.taskvec import TaskvecDocumentEmbedder, TaskvecTextEmbedder
from haystack_integrations.components.embedders.taskvec.settings import Embedder
from taskvec import Encoder, Task, quantize, shared_encoder
from taskvec.integration import scaled_int8
from taskvec_integrations import options

TEXT = "Why does bread rise?"
CHANGED: dict[str, Any] = {
    "model": "mini",
    "task": "separation",
    "dimensions": 24,
    "precision": "int8",
    "prefix": "a ",
    "suffix": " b",
    "revision": None,
    "device": ComponentDevice.from_str("cpu"),
    "dtype": "float32",
    "max_batch_tokens": 512,
    "token": Secret.from_env_var("MY_HUB_TOKEN", strict=False),
}
CHANGED_DOCUMENTS: dict[str, Any] = {
    **CHANGED,
    "late_chunking": True,
    "batch_size": 8,
    "progress_bar": False,
    "meta_fields_to_embed": ["title"],
    "embedding_separator": " | ",
}
BOTH = pytest.mark.parametrize("kind", ["text", "documents"])


def run(component: Any, text: str = TEXT) -> tuple[np.ndarray, dict[str, Any]]:
    """The embedding of one text by either component, and the meta."""
    if isinstance(component, TaskvecTextEmbedder):
        result = component.run(text)
        return np.array(result["embedding"]), result["meta"]
    result = component.run([Document(content=text)])
    return np.array(result["documents"][0].embedding), result["meta"]


@pytest.mark.parametrize(
    ("kind", "task", "expected"),
    [
        ("text", "auto", Task.RETRIEVAL_QUERY),
        ("documents", "auto", Task.RETRIEVAL_PASSAGE),
        ("text", "text-matching", Task.TEXT_MATCHING),
        ("documents", Task.CLASSIFICATION, Task.CLASSIFICATION),
        ("text", None, None),
        ("documents", None, None),
    ],
)
def test_the_task_is_that_of_the_component_or_the_one_asked_for(
    kind: str, task: Any, expected: Task | None, make: Any, mini: Encoder
) -> None:
    got, meta = run(make(kind, task=task, dimensions=100))
    np.testing.assert_allclose(got, mini.encode(TEXT, task=expected, dimensions=100), atol=1e-6)
    assert (meta["model"], meta["truncated"]) == ("mini", 0)
    assert meta["tokens"] > mini.count_tokens(TEXT)[0] - 1


@BOTH
def test_prefix_and_suffix_stand_around_the_text(kind: str, make: Any, mini: Encoder) -> None:
    got, _ = run(make(kind, prefix="query: ", suffix="!", task=None))
    np.testing.assert_allclose(got, mini.encode(f"query: {TEXT}!", task=None), atol=1e-6)


@BOTH
def test_truncation_is_counted(kind: str, make: Any, short_folder: Any) -> None:
    _, meta = run(make(kind, str(short_folder)), "word " * 200)
    assert (meta["truncated"], meta["tokens"]) == (1, 64)


PRECISIONS = {
    "float32": lambda vector: vector,
    "float16": lambda vector: vector.astype(np.float16),
    "int8": lambda vector: scaled_int8(vector[None])[0],
    "binary": lambda vector: quantize(vector, "binary"),
    "ubinary": lambda vector: quantize(vector, "ubinary"),
}


@BOTH
@pytest.mark.parametrize("precision", PRECISIONS)
def test_precisions(kind: str, precision: str, make: Any, mini: Encoder) -> None:
    got, _ = run(make(kind, precision=precision, task="separation"))
    wanted = PRECISIONS[precision](mini.encode(TEXT, task="separation"))
    np.testing.assert_allclose(got, wanted, atol=1e-6 if precision == "float32" else 1e-3)
    if precision == "int8":
        plain = mini.encode(TEXT, task="separation")
        assert got @ plain / np.linalg.norm(got) > 0.999


def test_an_int8_query_and_a_batch_of_documents_are_scaled_alike(make: Any) -> None:
    query = make("text", precision="int8", task="separation").run(TEXT)["embedding"]
    others = [Document(content=text) for text in (TEXT, "The sea rises twice a day.", "Snow is white.")]
    assert make("documents", precision="int8", task="separation").run(others)["documents"][0].embedding == query


@BOTH
def test_round_trip_of_every_parameter(kind: str) -> None:
    component = {"text": TaskvecTextEmbedder, "documents": TaskvecDocumentEmbedder}[kind]
    given = CHANGED if kind == "text" else CHANGED_DOCUMENTS
    made = component(**given)
    data = made.to_dict()
    assert set(data["init_parameters"]) == set(given)
    again = component.from_dict(data)
    assert again.to_dict() == data
    for name, value in given.items():
        assert getattr(again, name) == value
    with pytest.raises(TypeError, match="unexpected keyword argument 'dimension'"):
        component("mini", dimension=3)


def test_tasks_and_dtypes_are_written_as_plain_words() -> None:
    import torch

    pipeline = Pipeline()
    pipeline.add_component("a", TaskvecTextEmbedder("mini", task=Task.SEPARATION, dtype=torch.float32))  # type: ignore[arg-type]
    loaded = Pipeline.loads(pipeline.dumps()).get_component("a")
    assert (loaded.task, loaded.dtype) == ("separation", "float32")


@pytest.mark.parametrize("device", [None, "cpu", ComponentDevice.from_str("cpu"), ["cpu", "cpu"]], ids=str)
def test_devices(device: Any, make: Any, mini: Encoder) -> None:
    embedder = make("text", device=device)
    np.testing.assert_allclose(run(embedder)[0], mini.encode_queries(TEXT), atol=1e-6)
    assert TaskvecTextEmbedder.from_dict(embedder.to_dict()).device == device


def test_the_token_is_asked_for_when_the_model_is_loaded_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given: list[dict[str, Any]] = []

    def load(model: str, **arguments: Any) -> Encoder:
        given.append(arguments)
        return shared_encoder(model, **{**arguments, "revision": None})

    monkeypatch.setattr(options, "shared_encoder", load)
    caplog.set_level(logging.DEBUG)
    embedder = TaskvecTextEmbedder("mini", token=Secret.from_env_var("MY_HUB_TOKEN"), revision="v1", max_batch_tokens=99)
    with pytest.raises(ValueError, match="MY_HUB_TOKEN"):
        embedder.warm_up()
    monkeypatch.setenv("MY_HUB_TOKEN", "hf_secret")
    embedder.run("a")
    assert given == [{"revision": "v1", "max_batch_tokens": 99, "token": "hf_secret"}]
    shown = [caplog.text, repr(embedder), repr(vars(embedder)), str(embedder.to_dict())]
    embedder.close()
    assert not [text for text in shown if "hf_secret" in text]
    with pytest.raises(ValueError, match="Cannot serialize token-based secret"):
        TaskvecTextEmbedder("mini", token=Secret.from_token("hf_secret")).to_dict()


def test_one_model_for_all_and_its_memory_goes_with_the_last(make: Any) -> None:
    first, second, other = make("text"), make("documents"), make("text", dtype="bfloat16")
    for embedder in (first, second, other):
        embedder.warm_up()
        embedder.warm_up()
    encoder = first._lazy.get()
    assert encoder is second._lazy.get()
    assert encoder is not other._lazy.get()
    first.close()
    first.close()
    assert second.run([Document(content="a")])["documents"]
    second.close()
    with pytest.raises(RuntimeError, match="is closed"):
        encoder.encode("a")
    assert run(first)[0].shape == (384,)


def test_threads_that_load_at_once_hold_the_model_once(make: Any) -> None:
    embedder = make("text")
    start = threading.Barrier(8)

    def cold(_: int) -> Any:
        start.wait()
        return embedder.run(TEXT)["embedding"]

    with ThreadPoolExecutor(8) as executor:
        vectors = list(executor.map(cold, range(8)))
    assert all(vector == vectors[0] for vector in vectors)
    encoder = embedder._lazy.get()
    embedder.close()
    with pytest.raises(RuntimeError, match="is closed"):
        encoder.encode("a")


def test_nothing_is_loaded_before_it_is_needed() -> None:
    TaskvecTextEmbedder("/no/such/folder").to_dict()
    with pytest.raises(FileNotFoundError, match="there is no model folder /no/such/folder"):
        TaskvecTextEmbedder("/no/such/folder").warm_up()


def test_async_methods_leave_the_event_loop_free(make: Any, mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(model: str, **arguments: Any) -> Encoder:
        time.sleep(0.3)
        return shared_encoder(model, **arguments)

    async def main() -> tuple[int, Any, Any]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        queries, documents = make("text"), make("documents")
        await queries.warm_up_async()
        loading = ticks
        query, document = await asyncio.gather(queries.run_async(TEXT), documents.run_async([Document(content=TEXT)]))
        await queries.close_async()
        await documents.close_async()
        ticking.cancel()
        return loading, query["embedding"], document["documents"][0].embedding

    monkeypatch.setattr(options, "shared_encoder", slowly)
    loading, query, document = asyncio.run(main())
    assert loading > 5
    np.testing.assert_allclose(query, mini.encode_queries(TEXT), atol=1e-6)
    np.testing.assert_allclose(document, mini.encode_documents(TEXT), atol=1e-6)


def test_documents_are_copied_with_everything_they_have(make: Any) -> None:
    given = [Document(content="a", meta={"x": [1]}, score=0.5, embedding=[1.0]), Document(id="b", content="")]
    before = [document.to_dict() for document in given]
    result = make("documents").run(given)
    assert [document.to_dict() for document in given] == before
    got = [{**document.to_dict(), "embedding": None} for document in result["documents"]]
    assert got == [{**document, "embedding": None} for document in before]


def test_no_documents_give_none(make: Any) -> None:
    for late in (False, True):
        result = make("documents", late_chunking=late, progress_bar=True).run([])
        assert result["documents"] == []
        assert result["meta"] == {"model": "mini", "tokens": 0, "truncated": 0, "windows": 0, "fallbacks": 0}


def test_a_progress_bar_goes_to_stderr(make: Any, capfd: pytest.CaptureFixture[str]) -> None:
    for late in (False, True):
        make("documents", late_chunking=late, progress_bar=True).run([Document(content=TEXT)])
        out, error = capfd.readouterr()
        assert out == ""
        assert "1/1" in error


def test_a_batch_size_is_said_to_have_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    TaskvecDocumentEmbedder("mini", batch_size=32)
    assert "batch_size=32 has no effect, batches are packed by tokens: max_batch_tokens" in caplog.text


MISUSE: dict[str, tuple[Any, type[Exception], str]] = {
    "str to documents": (lambda make: make("documents").run("a"), TypeError, "documents is str.*TaskvecTextEmbedder"),
    "strs to documents": (lambda make: make("documents").run(["a"]), TypeError, r"documents\[0\] is str, a Document"),
    "mixed": (lambda make: make("documents").run([Document(content="a"), 3]), TypeError, r"documents\[1\] is int"),
    "sources": (lambda make: make("documents").run([], sources="a"), TypeError, "sources is str"),
    "list to text": (lambda make: make("text").run(["a"]), TypeError, "got list, a str .*TaskvecDocumentEmbedder"),
    "Document to text": (lambda make: make("text").run(Document(content="a")), TypeError, "got Document, a str"),
    "no content": (
        lambda make: make("documents").run([Document(content="a"), Document(id="picture")]),
        ValueError,
        r"document 1 \(picture\) has no content",
    ),
    "precision": (lambda make: make("text", precision="int4"), ValueError, "unknown precision 'int4': .*float32, float16"),
    "no list": (lambda make: make("text", precision="base64"), ValueError, "unknown precision 'base64'"),
    "too wide": (lambda make: make("text", dimensions=385).run("a"), ValueError, "385, but this model's vectors have 384: use 1"),
    "too narrow": (lambda make: make("documents", dimensions=0).run([]), ValueError, "dimensions is 0"),
    "no bytes": (
        lambda make: make("documents", dimensions=12, precision="binary").run([Document(content="a")]),
        ValueError,
        "12 is not a multiple of 8",
    ),
    "task": (lambda make: make("text", task="query"), ValueError, "unknown task 'query': use one of retrieval.query"),
    "flag": (lambda make: make("documents", late_chunking="yes"), TypeError, "late_chunking is 'yes': True or False"),
    "fields": (lambda make: make("documents", meta_fields_to_embed="title"), TypeError, "'title': a list of names"),
    "prefix": (lambda make: make("text", prefix=None), TypeError, "prefix is None: a str"),
    "model": (lambda make: TaskvecTextEmbedder(3), TypeError, "model is 3: a hub id like jinaai"),  # type: ignore[arg-type]
    "token": (lambda make: TaskvecTextEmbedder(token="hf_x"), TypeError, "token is no Secret: use"),  # type: ignore[arg-type]
    "device": (lambda make: make("text", device="tpu9").run("a"), ValueError, "device 'tpu9' is not one torch knows"),
}


@pytest.mark.parametrize(("misuse", "error", "message"), MISUSE.values(), ids=MISUSE)
def test_misuse_is_explained(misuse: Any, error: type[Exception], message: str, make: Any) -> None:
    with pytest.raises(error, match=message):
        misuse(make)


def test_both_are_made_of_the_same_settings() -> None:
    assert issubclass(TaskvecTextEmbedder, Embedder)
    assert issubclass(TaskvecDocumentEmbedder, Embedder)
