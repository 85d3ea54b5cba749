"""langchain-openai: sends token ids unless it is told not to."""

import asyncio
from typing import Any

import tiktoken
from langchain_openai import OpenAIEmbeddings
from talk import Asked, main


def embeddings(asked: Asked, name: str = "", **options: Any) -> OpenAIEmbeddings:
    options = {"check_embedding_ctx_length": False, **options}
    return OpenAIEmbeddings(model=asked.model + name, base_url=f"{asked.url}/v1", api_key=asked.key, **options)


def vectors(asked: Asked) -> dict[str, Any]:
    query = embeddings(asked, ":query")
    late = embeddings(asked, model_kwargs={"extra_body": {"task": "retrieval.passage", "late_chunking": True}})
    return {
        "default": embeddings(asked).embed_documents(asked.texts),
        "query": [query.embed_query(text) for text in asked.texts],
        "query/async": asyncio.run(query.aembed_documents(asked.texts)),
        "query short": embeddings(asked, ":query", dimensions=asked.dimensions).embed_documents(asked.texts),
        "passage": embeddings(asked, ":passage").embed_documents(asked.texts),
        "passage late": late.embed_documents(asked.chunks),
        "token ids": token_ids(asked),
    }


def token_ids(asked: Asked) -> str:
    """What it says by default, when it sends token ids of a tokenizer from the network; here, bytes stand in for that."""
    of_bytes = tiktoken.Encoding("bytes", pat_str=".", mergeable_ranks={bytes([n]): n for n in range(256)}, special_tokens={})
    tiktoken.registry.ENCODINGS["cl100k_base"] = of_bytes
    try:
        return f"no error: {embeddings(asked, check_embedding_ctx_length=True).embed_query(asked.texts[0])!r:.100}"
    except Exception as error:
        return str(error)


def ask(asked: Asked) -> Any:
    return embeddings(asked, dimensions=asked.dimensions).embed_query(asked.texts[0])


main("langchain-openai", vectors, ask)
