"""Two-stage search on Qdrant's real engine: storage types, quantization, rescoring, BM25, tenants."""

import asyncio
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from support.qdrant.edge_server import EdgeServer, edge_server
from support.qdrant.points import COLLECTION, QUESTION, TEXTS, WIDTH, assert_equal
from taskvec import Encoder
from taskvec_integrations.demo.text import QUESTIONS, read_sections
from taskvec_integrations.qdrant import AsyncTaskvecQdrantClient, TaskvecQdrantClient, TwoStageSearch

Client = TaskvecQdrantClient
Make = Callable[..., tuple[TwoStageSearch, str]]

CHUNKS = [chunk.text[:240] for section in read_sections() for chunk in section][::4]
ASKED = list(QUESTIONS)
LIMIT = 5


@pytest.fixture(scope="module")
def server() -> Iterator[EdgeServer]:
    with edge_server() as server:
        yield server


@pytest.fixture(scope="module")
def remote(server: EdgeServer, mini: Encoder) -> Iterator[Client]:
    hands_bm25_over = tuple(map(int, version("qdrant-client").split("."))) >= (1, 17, 1)
    client = TaskvecQdrantClient(url=server.url, encoder=mini, timeout=120, cloud_inference=not hands_bm25_over)
    yield client
    client.close()


@pytest.fixture(scope="module")
def make_search(remote: Client, server: EdgeServer) -> Make:
    """Makes a search and its collection with CHUNKS in it, indexed and quantized by the server; once for each settings."""

    @cache
    def make(**settings: Any) -> tuple[TwoStageSearch, str]:
        search = TwoStageSearch("mini", WIDTH, **settings)
        name = "-".join(["search", *settings])
        remote.create_collection(name, **search.collection())
        for index in search.indexes():
            remote.create_payload_index(name, **index)
        payloads = [{"document": f"{i // 4}", "whose": "ab"[i % 2]} for i in range(len(CHUNKS))]
        points = [models.PointStruct(id=i, vector={**search.vectors(text)}, payload=payloads[i]) for i, text in enumerate(CHUNKS)]
        remote.upload_points(name, points, wait=True)
        assert server.collections[name].shard.optimize()
        return search, name

    return make


@pytest.fixture(scope="module")
def texts(mini: Encoder) -> Any:
    """What the full vectors of CHUNKS should be: (chunks, dimensions)."""
    return mini.encode_documents(CHUNKS)


@pytest.fixture(scope="module")
def scores(mini: Encoder, texts: Any) -> Any:
    """Exact scores of every question with every chunk: (questions, chunks)."""
    return mini.encode_queries(ASKED) @ texts.T


def best(scores: Any) -> list[set[int]]:
    """The numbers of the best chunks for each question."""
    return [set(row[:LIMIT].tolist()) for row in np.argsort(-scores, axis=1)]


def recall(found: list[list[Any]], expected: list[set[int]]) -> float:
    return float(np.mean([len({hit.id for hit in hits} & right) / LIMIT for hits, right in zip(found, expected, strict=True)]))


def test_the_full_vector_is_stored_as_float16(make_search: Make, remote: Client, texts: Any) -> None:
    _, name = make_search()
    records: list[Any] = remote.retrieve(name, list(range(len(CHUNKS))), with_vectors=True)
    vectors = np.array([record.vector["full"] for record in sorted(records, key=lambda record: record.id)])
    difference = np.abs(vectors - texts[: len(vectors)])
    assert 1e-5 < difference.max() < 2**-12


def test_what_the_small_vector_finds_is_ranked_by_the_full_one(make_search: Make, remote: Client, scores: Any) -> None:
    search, name = make_search()
    found = [remote.query_points(name, **search.query(question, limit=LIMIT)).points for question in ASKED]
    assert recall(found, best(scores)) > 0.97
    for row, hits in zip(scores, found, strict=True):
        np.testing.assert_allclose([hit.score for hit in hits], [row[hit.id] for hit in hits], atol=1e-3)


def test_the_first_stage_is_small_int8_and_not_rescored(
    make_search: Make, remote: Client, mini: Encoder, texts: Any, scores: Any
) -> None:
    search, name = make_search()

    def first_stage(question: str) -> list[Any]:
        stage = search.query(question, limit=LIMIT)["prefetch"]
        found = remote.query_points(name, stage.query, using=stage.using, search_params=stage.params, limit=LIMIT)
        return found.points

    found = [first_stage(question) for question in ASKED]
    cut = texts[:, :96] / np.linalg.norm(texts[:, :96], axis=1, keepdims=True)
    small = mini.encode_queries(ASKED, dimensions=96) @ cut.T
    off = [abs(hit.score - row[hit.id]) for row, hits in zip(small, found, strict=True) for hit in hits]
    assert 1e-3 < max(off) < 0.05  # float16 would be ten times nearer
    assert recall(found, best(small)) > 0.9
    assert recall(found, best(scores)) < 0.9  # so it is the second stage that finds the rest


def test_a_collection_of_uint8_keeps_nothing_of_our_vectors(server: Server, mini: Encoder, texts: Any, scores: Any) -> None:
    """Why it is refused."""
    plain = QdrantClient(url=server.url)
    uint8 = models.VectorParams(size=WIDTH, distance=models.Distance.COSINE, datatype=models.Datatype.UINT8)
    plain.create_collection(COLLECTION, uint8)
    plain.upsert(COLLECTION, [models.PointStruct(id=i, vector=vector) for i, vector in enumerate(texts.tolist())])
    queries = mini.encode_queries(ASKED).tolist()
    found = [plain.query_points(COLLECTION, query, limit=LIMIT).points for query in queries]
    assert recall(found, best(scores)) < 0.2
    plain.close()


def test_rare_words_are_found_by_bm25(make_search: Make, remote: Client) -> None:
    search, name = make_search(bm25="english")
    texts = ["Order the seal XK-4711 for older pumps.", "Order the seal PL-2240 for older pumps.", "Seals of pumps wear out."]
    points = [models.PointStruct(id=1000 + i, vector={**search.vectors(text)}) for i, text in enumerate(texts)]
    remote.upsert(name, points)
    for code, right in (("XK-4711", 1000), ("PL-2240", 1001)):
        found = remote.query_points(name, **search.query(f"Which pump needs {code}?", limit=3)).points
        assert found[0].id == right
    words = search.query("XK-4711")["prefetch"][1]
    assert [hit.id for hit in remote.query_points(name, words.query, using=words.using).points] == [1000]


def test_tenants_see_their_own_points_only(make_search: Make, remote: Client, server: EdgeServer) -> None:
    search, name = make_search(tenant="whose", bm25="english")
    some = models.Filter(must=[models.FieldCondition(key="document", match=models.MatchValue(value="3"))])
    for number, whose in enumerate("ab"):
        found: list[Any] = remote.query_points(name, **search.query(ASKED[0], tenant=whose)).points
        assert found
        assert {hit.id % 2 for hit in found} == {number}
        found = remote.query_points(name, **search.query(ASKED[0], tenant=whose, query_filter=some)).points
        assert {hit.id for hit in found} == {12 + number, 14 + number}
    assert server.collections[name].shard.info().payload_schema["whose"].params.is_tenant
    with pytest.raises(ValueError, match=r"tenant is missing: .* tenants in the field 'whose', so pass tenant="):
        search.query(ASKED[0])


@pytest.mark.parametrize("settings", [{}, {"bm25": "english"}], ids=["dense", "hybrid"])
def test_results_grouped_by_document(settings: dict[str, Any], make_search: Make, remote: Client) -> None:
    search, name = make_search(**settings)
    answer = remote.query_points_groups(name, **search.groups(ASKED[0], group_by="document", limit=4, group_size=2))
    names = [group.id for group in answer.groups]
    assert len(names) == len(set(names)) == 4
    groups: list[Any] = answer.groups
    for group in groups:
        assert 1 <= len(group.hits) <= 2
        assert {str(hit.id // 4) for hit in group.hits} == {group.id}
    assert answer.groups[0].hits[0].id == remote.query_points(name, **search.query(ASKED[0], limit=8)).points[0].id


def test_it_serves_the_async_client_and_late_chunking(mini: Encoder) -> None:
    search = TwoStageSearch("mini", WIDTH, small=32)

    async def run() -> tuple[Any, Any]:
        client = AsyncTaskvecQdrantClient(":memory:", encoder=mini)
        await client.create_collection(COLLECTION, **search.collection())
        vectors: list[Any] = [search.vectors(text, {"document_id": 1}) for text in TEXTS]
        await client.upsert(COLLECTION, [models.PointStruct(id=i, vector=vector) for i, vector in enumerate(vectors)])
        records = await client.retrieve(COLLECTION, [0, 1, 2, 3], with_vectors=True)
        found = await client.query_points(COLLECTION, **search.query(QUESTION, limit=2))
        await client.close()
        return [record.vector for record in records], found.points

    vectors, found = asyncio.run(run())
    late = mini.encode_documents(TEXTS, late_chunking=True)
    assert_equal([vector["full"] for vector in vectors], late)
    assert_equal([vector["small"] for vector in vectors], mini.encode_documents(TEXTS, late_chunking=True, dimensions=32))
    assert_equal([hit.score for hit in found], np.sort(late @ mini.encode_queries(QUESTION))[::-1][:2])


def test_settings_that_cannot_work_are_refused() -> None:
    for small in (0, WIDTH, 1000):
        with pytest.raises(ValueError, match=f"small is {small}: use 1 to 383"):
            TwoStageSearch("mini", WIDTH, small=small)
    with pytest.raises(ValueError, match=r"oversampling is 0\.5"):
        TwoStageSearch("mini", WIDTH, oversampling=0.5)
    with pytest.raises(ValueError, match=r"has no tenants: name their payload field with TwoStageSearch\(tenant=\.\.\.\)"):
        TwoStageSearch("mini", WIDTH).query("a", tenant="b")
    with pytest.raises(ValueError, match=r"sets the dimensions itself \(384 and 96\): leave them out of options"):
        TwoStageSearch("mini", WIDTH).vectors("a", {"dimensions": 3})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimensions": "384"}, "dimensions is '384': a whole number was expected"),
        ({"dimensions": 384, "small": 96.0}, r"small is 96\.0: a whole number was expected"),
        ({"dimensions": 384, "oversampling": "8"}, "oversampling is '8': a number was expected"),
    ],
)
def test_arguments_of_the_wrong_type(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        TwoStageSearch("mini", **arguments)
