"""What the clients refuse, what they leave to the server, and collections that change under them."""

import pytest
from pymilvus import (
    AnnSearchRequest,
    MilvusClient,
    MilvusException,
    RRFRanker,
)

from support.milvus.checks import DIMENSIONS, QUESTIONS, ROWS, AnyClient, on, stored
from taskvec import Encoder
from taskvec_integrations.milvus import AsyncTaskvecMilvusClient, TaskvecMilvusClient, TextCollection


def recreate_and_use(any_client: AnyClient, plain: MilvusClient, name: str, sizes: tuple[int, ...]) -> None:
    """Use a collection that somebody drops and creates anew, for vectors of another size each time."""
    for dimensions in sizes:
        plain.drop_collection(name)
        TextCollection(dimensions).create(plain, name, consistency_level="Strong")
        if dimensions <= 384:
            any_client.insert(name, ROWS)
            assert stored(plain, name)["bread"].shape == (dimensions,)
            assert any_client.search(name, [QUESTIONS[0]], limit=1)[0][0]["id"] == "bread"


@on("server")
def test_hybrid_search_is_refused_by_name_where_the_server_has_none(any_client: AnyClient) -> None:
    with pytest.raises(NotImplementedError, match=r"Milvus 2\.3\.5 has no hybrid_search: search field by field and merge"):
        any_client.hybrid_search("docs", [AnnSearchRequest(["a"], "vector", {}, 1)], RRFRanker())


def test_a_field_wider_than_the_model_names_both(any_client: AnyClient, plain: MilvusClient, name: str) -> None:
    TextCollection(1024).create(plain, name)
    message = f"the field vector of {name} has dim 1024, but mini has vectors of 384: create the field with dim 384 or less"
    with pytest.raises(ValueError, match=message):
        any_client.insert(name, ROWS)
    with pytest.raises(ValueError, match=message):
        any_client.search(name, ["a"])


@on("lite", "server-soak")
def test_a_collection_that_was_created_anew_is_described_anew(plain: MilvusClient, mini: Encoder, uri: str, name: str) -> None:
    any_client = AnyClient(TaskvecMilvusClient, uri, encoder=mini, text_field="text")
    recreate_and_use(any_client, plain, name, (DIMENSIONS, 32))
    any_client.close()


def test_a_collection_that_was_too_wide_is_described_anew(any_client: AnyClient, plain: MilvusClient, name: str) -> None:
    recreate_and_use(any_client, plain, name, (DIMENSIONS, 1024, 64))


def test_errors_of_the_server_stay_its_own(any_client: AnyClient, plain: MilvusClient, name: str) -> None:
    with pytest.raises(MilvusException, match=r"not found|not exist"):
        any_client.insert(name, ROWS)
    TextCollection(DIMENSIONS).create(plain, name)
    for _ in range(2):
        with pytest.raises(MilvusException, match="vector"):
            any_client.insert(name, [{"id": "a", "text": "b", "vector": [1.0]}, {"id": "c", "text": "d"}])
        with pytest.raises(MilvusException):
            any_client.search(name, ["a"], filter="no filter")
        with pytest.raises(TypeError, match="data"):
            any_client.insert(name, "a text is no row")


def test_without_a_text_field_a_missing_vector_is_missed(plain: MilvusClient, mini: Encoder, uri: str, name: str) -> None:
    client = TaskvecMilvusClient(uri, encoder=mini)
    TextCollection(DIMENSIONS).create(client, name)
    with pytest.raises(MilvusException, match="missed an field `vector`"):
        client.insert(name, ROWS)
    client.close()


def test_nonsense_is_refused_before_anything_is_connected() -> None:
    with pytest.raises(ValueError, match="unknown task 'passage'"):
        TaskvecMilvusClient("nowhere", encoder="mini", document_task="passage")
    with pytest.raises(TypeError, match="encoder is 3"):
        TaskvecMilvusClient("nowhere", encoder=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="text_field is 3"):
        AsyncTaskvecMilvusClient("nowhere", encoder="mini", text_field=3)  # type: ignore[arg-type]
