"""What goes over the wire to a Milvus 2.6, for every precision and through every method, and what is not sent at all."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, DataType, RRFRanker

from support.milvus.checks import Asked
from support.milvus.stub import Stub, serving
from taskvec import Encoder
from taskvec_integrations.milvus import (
    AsyncTaskvecMilvusClient,
    TaskvecEmbeddingFunction,
    TaskvecMilvusClient,
    TextCollection,
)

KINDS = {
    "float32": "FloatVector",
    "float16": "Float16Vector",
    "bfloat16": "BFloat16Vector",
    "int8": "Int8Vector",
    "binary": "BinaryVector",
}


@pytest.fixture
def stub(request: pytest.FixtureRequest) -> Iterator[Stub]:
    with serving(getattr(request, "param", "v2.6.3")) as stub:
        yield stub


@pytest.fixture(params=[TaskvecMilvusClient, AsyncTaskvecMilvusClient], ids=["sync", "async"])
def asked(request: pytest.FixtureRequest, stub: Stub, mini: Encoder) -> Iterator[Asked]:
    client = Asked(request.param, stub.uri, encoder=mini, text_field="text")
    yield client
    client.close()


@pytest.fixture(params=KINDS)
def precision(request: pytest.FixtureRequest) -> str:
    if request.param == "int8" and "INT8_VECTOR" not in DataType.__members__:
        pytest.skip("this pymilvus has no INT8_VECTOR")
    if request.param == "bfloat16":
        pytest.importorskip("ml_dtypes")
    return str(request.param)


def packed(vectors: list[Any]) -> bytes:
    return b"".join(vector if isinstance(vector, bytes) else vector.tobytes() for vector in vectors)


def test_every_precision_through_every_method(asked: Asked, stub: Stub, mini: Encoder, precision: str) -> None:
    embed = TaskvecEmbeddingFunction(mini, dimensions=64, precision=precision)
    asked.create(TextCollection(64, precision), "docs")
    asked("insert", "docs", [{"id": "a", "text": "one"}, {"id": "b", "text": "", "vector": "two"}])
    asked("upsert", "docs", {"id": "a", "text": "three"})
    asked("search", "docs", ["four", "five"], anns_field="vector")
    requests = [AnnSearchRequest(["six"], "vector", {}, 2), AnnSearchRequest(["seven"], "vector", {}, 2)]
    asked("hybrid_search", "docs", requests, RRFRanker())
    expected = [
        embed.encode_documents(["one", "two"]),
        embed.encode_documents(["three"]),
        embed.encode_queries(["four", "five"]),
        embed.encode_queries(["six"]),
        embed.encode_queries(["seven"]),
    ]
    assert [sent.data for sent in stub.sent] == [packed(vectors) for vectors in expected]
    assert {(sent.field, sent.kind) for sent in stub.sent} == {("vector", KINDS[precision])}


def test_metric_and_index_of_every_precision(asked: Asked, stub: Stub, precision: str) -> None:
    asked.create(TextCollection(64, precision, description="mine"), "docs")
    metric, index = stub.indexes["vector"]["metric_type"], stub.indexes["vector"]["index_type"]
    assert metric == ("HAMMING" if precision == "binary" else "COSINE")
    assert index == {"float32": "AUTOINDEX", "binary": "BIN_FLAT"}.get(precision, "HNSW")
    schema = stub.schemas["docs"]
    assert [field.name for field in schema.fields] == ["id", "text", "vector"]
    assert (schema.enable_dynamic_field, schema.description) == (True, "mine")


def test_another_layout(asked: Asked, stub: Stub) -> None:
    layout = TextCollection(
        8, vector_field="v", text_field="t", id_field="i", index={"index_type": "DISKANN"}, enable_dynamic_field=False
    )
    asked.create(layout, "docs")
    assert stub.indexes["v"] == {"metric_type": "COSINE", "index_type": "DISKANN"}
    assert [field.name for field in stub.schemas["docs"].fields] == ["i", "t", "v"]
    assert not stub.schemas["docs"].enable_dynamic_field


def test_a_collection_is_described_once(asked: Asked, stub: Stub) -> None:
    asked.create(TextCollection(64), "docs")
    asked("search", "docs", ["one"])
    described = stub.described
    for _ in range(3):
        asked("search", "docs", ["one"])
    assert stub.described == described


def test_other_arguments_go_as_they_were(asked: Asked, stub: Stub) -> None:
    asked.create(TextCollection(64), "docs")
    asked(
        "search", "docs", ["one"], filter="id != 'a'", output_fields=["text"], partition_names=["p"], consistency_level="Strong"
    )
    request = stub.searches[-1]
    assert (request.dsl, list(request.output_fields), list(request.partition_names)) == ("id != 'a'", ["text"], ["p"])
    assert request.consistency_level == 0
    asked("search", "docs", ["one"], consistency_level="Eventually")
    assert stub.searches[-1].consistency_level == 3


@pytest.mark.parametrize(
    ("stub", "precision", "said"),
    [
        ("v2.5.12", "int8", r"Milvus 2\.5\.12 has no INT8_VECTOR, .* float16 or bfloat16 or binary here, .* 2\.6 or later"),
        ("v2.3.5-lite", "float16", r"Milvus 2\.3\.5 has no FLOAT16_VECTOR, .* float32 or binary here, .* 2\.4 or later"),
        ("v2.3.21", "bfloat16", r"Milvus 2\.3\.21 has no BFLOAT16_VECTOR"),
        ("milvus_lite-3.2.2", "binary", r"milvus-lite 3\.2\.2 has no BINARY_VECTOR, .* use precision float32 here"),
    ],
    indirect=["stub"],
)  # fmt: skip
def test_what_an_engine_lacks_is_refused_before_anything_is_sent(stub: Stub, asked: Asked, precision: str, said: str) -> None:
    if not hasattr(asked.client, "get_server_version"):
        pytest.skip("the async client of pymilvus 2.5 cannot ask for the version")
    with pytest.raises(ValueError, match=said):
        asked.create(TextCollection(64, precision), "docs")
    assert not stub.schemas


@pytest.mark.parametrize("stub", ["v2.3.5"], indirect=True)
def test_hybrid_search_is_left_alone_where_there_is_no_text(stub: Stub, asked: Asked) -> None:
    asked.create(TextCollection(2), "docs")
    asked("hybrid_search", "docs", [AnnSearchRequest([[1.0, 0.0]], "vector", {}, 1)], RRFRanker())
    assert np.frombuffer(stub.sent[-1].data, dtype=np.float32).tolist() == [1, 0]


@pytest.mark.parametrize("stub", ["unknown"], indirect=True)
def test_an_engine_that_tells_no_version_is_refused_nothing(stub: Stub, asked: Asked) -> None:
    asked.create(TextCollection(64, "float16"), "docs")
    assert "docs" in stub.schemas


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dimensions": 1}, "dimensions is 1: Milvus has vectors of 2 to 32768"),
        ({"dimensions": 12, "precision": "binary"}, "12 is not a multiple of 8"),
        ({"dimensions": 8, "vector_field": "id"}, "two fields have one name: give id_field 'id', .* and vector_field 'id'"),
        ({"dimensions": 64, "precision": "uint8"}, "unknown precision 'uint8': Milvus stores float32, float16"),
    ],
)  # fmt: skip
def test_layouts_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TextCollection(**options)


@pytest.mark.parametrize("dimensions", ["64", 64.0, True, None], ids=repr)
def test_dimensions_are_a_whole_number(dimensions: Any) -> None:
    with pytest.raises(TypeError, match=rf"dimensions is {dimensions!r}: a whole number was expected"):
        TextCollection(dimensions)
