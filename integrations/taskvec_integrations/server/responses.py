"""The response bodies of each dialect; arrays go to JSON without Python numbers in between."""

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from taskvec import quantize
from taskvec.integration import Vectors
from taskvec_integrations.server.request import FORMATS, EmbedRequest
from taskvec_integrations.server.service import EmbedResult

Render = Callable[[EmbedRequest, EmbedResult, str], Any]
"""Makes a dialect's response body of a request and its result; the text is the name that the model is served under."""


def render_openai(request: EmbedRequest, result: EmbedResult, served_name: str) -> dict[str, Any]:
    """The list of embeddings that Jina's API and OpenAI's return."""
    columns = {name: _convert(result.vectors, name) for name in request.formats}
    data: list[dict[str, Any]] = [
        {"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(columns[request.formats[0]])
    ]
    if len(columns) > 1:
        for index, item in enumerate(data):
            item["embeddings"] = {name: column[index] for name, column in columns.items()}
    usage = {"total_tokens": result.tokens, "prompt_tokens": result.tokens}
    return {"model": request.model or served_name, "object": "list", "usage": usage, "data": data}


def render_tei(request: EmbedRequest, result: EmbedResult, served_name: str) -> Vectors:
    """The bare list of vectors that Text Embeddings Inference returns."""
    return result.vectors


def render_pinecone(request: EmbedRequest, result: EmbedResult, served_name: str) -> dict[str, Any]:
    """The list of dense embeddings that Pinecone returns."""
    return {
        "model": request.model or served_name,
        "vector_type": "dense",
        "data": [{"values": vector, "vector_type": "dense"} for vector in result.vectors],
        "usage": {"total_tokens": result.tokens},
    }


def to_json(body: Any) -> bytes:
    """JSON; float32 in the fewest digits that read back as the same number."""
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _convert(vectors: Vectors, name: str) -> Any:
    return quantize(np.ascontiguousarray(vectors), FORMATS[name])
