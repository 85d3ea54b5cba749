"""What is done with each object that was pickled, in the old code and in the new: the results have to be the same.

Results are JSON; numbers that the model made are lists of floats, which may differ by rounding.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from haystack import Document as HaystackDocument
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from compat.texts import BREAD, CURIE

TEXTS = [BREAD, CURIE]
Use = Callable[[Any], dict[str, Any]]


def use_encoder(encoder: Any) -> dict[str, Any]:
    vectors = encoder.encode(TEXTS, dimensions=8)
    return {"shown": repr(encoder), "fingerprint": encoder.fingerprint, "vectors": vectors.tolist()}


def use_lazy_encoder(lazy: Any) -> dict[str, Any]:
    used = use_encoder(lazy.get()) | {"name": lazy.name, "arguments": sorted(lazy.arguments)}
    lazy.close()
    return used


def use_function(function: Any) -> dict[str, Any]:
    vectors = [vector.astype(float).tolist() for vector in function.encode_documents(TEXTS)]
    queries = [vector.astype(float).tolist() for vector in function(TEXTS[:1])]
    return {"dim": function.dim, "precision": function.precision, "vectors": vectors, "queries": queries}


def use_inference(inference: Any) -> dict[str, Any]:
    made = inference.embed("mini", TEXTS, {"input_type": "query"})
    embeddings = asyncio.run(made) if asyncio.iscoroutine(made) else made
    return {"vectors": [list(embedding.values) for embedding in embeddings.data]}


def use_text_collection(collection: Any) -> dict[str, Any]:
    return asdict(collection) | {"schema": [field.name for field in collection.schema().fields]}


def use_two_stage_search(plan: Any) -> dict[str, Any]:
    query = plan.query("text", tenant="me")
    return asdict(plan) | {"small": plan.small_dimensions, "arguments": sorted(query), "limit": query["prefetch"][0].limit}


def use_text_embedder(embedder: Any) -> dict[str, Any]:
    return {"parameters": embedder.to_dict()["init_parameters"], "vectors": [embedder.run(TEXTS[0])["embedding"]]}


def use_document_embedder(embedder: Any) -> dict[str, Any]:
    chunks = [
        HaystackDocument(content=part, meta={"source_id": "bread", "split_id": number, "title": "Baking"})
        for number, part in enumerate(BREAD.split(". "))
    ]
    documents = embedder.run(chunks)["documents"]
    return {"parameters": embedder.to_dict()["init_parameters"], "vectors": [document.embedding for document in documents]}


def use_embedding(embedding: Any) -> dict[str, Any]:
    nodes = [TextNode(text=part) for part in BREAD.split(". ")]
    for node in nodes:
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id="bread")
    return {
        "name": embedding.model_name,
        "late_chunking": embedding.late_chunking,
        "query": embedding.get_query_embedding(TEXTS[0]),
        "vectors": [node.embedding for node in embedding(nodes)],
    }


def use_embed_documents(embed: Any) -> dict[str, Any]:
    done = embed({"name": np.array(["a", "b"]), "body": np.array(TEXTS, dtype=object)})
    return {"columns": sorted(done), "vectors": done["vector"].astype(float).tolist()}


def use_embed_chunks(embed: Any) -> dict[str, Any]:
    chunks = np.empty(1, dtype=object)
    chunks[0] = BREAD.split(". ")
    done = embed({"chunks": chunks})
    return {"columns": sorted(done), "vectors": done["embedding"][0].astype(float).tolist()}


def use_server_settings(settings: Any) -> dict[str, Any]:
    names = ("default_task", "recognise_instructions", "max_inputs", "patience", "max_body_mib")
    return {name: getattr(settings, name) for name in names} | {
        "names": list(settings.names("mini")),
        "opens": [settings.opens("first"), settings.opens("third")],
        "shown": "first" in repr(settings),
    }


USES: Mapping[str, Use] = {
    "checkpoint_error": lambda error: {"text": str(error), "is ValueError": isinstance(error, ValueError)},
    "counts": lambda counts: asdict(counts) | {"shown": str(counts), "done": counts.done},
    "document": asdict,
    "embed_chunks": use_embed_chunks,
    "embed_documents": use_embed_documents,
    "embed_queries": use_embed_documents,
    "embedding": use_embedding,
    "embedding_function": use_function,
    "encoder": use_encoder,
    "failure": lambda failure: failure._asdict() | {"shown": str(failure), "parts": list(failure)},
    "haystack_document_embedder": use_document_embedder,
    "haystack_text_embedder": use_text_embedder,
    "hit": asdict,
    "inference": use_inference,
    "inference_async": use_inference,
    "ingest_report": lambda report: asdict(report) | {"shown": str(report), "changed": report.changed},
    "lazy_encoder": use_lazy_encoder,
    "lazy_encoder_loaded": use_lazy_encoder,
    "load_later": lambda load: use_encoder(load()),
    "server_settings": use_server_settings,
    "store_url": lambda url: asdict(url) | {"shown": str(url), "key": url.key_variable},
    "task": lambda task: {"value": task, "adapter": task.adapter, "instruction": task.instruction},
    "text_collection": use_text_collection,
    "two_stage_search": use_two_stage_search,
    "usage": asdict,
}
"""By the name of a pickle what is done with the object in it."""
