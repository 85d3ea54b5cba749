"""Vectors as the bodies of answers, in each dialect; arrays go to JSON without Python numbers in between."""

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from taskvec import quantize
from taskvec.integration import Vectors
from taskvec_integrations.server.request import FORMATS, Call
from taskvec_integrations.server.service import Embedded

Answer = Callable[[Call, Embedded, str], Any]
"""What a dialect makes of a call's vectors; the text is the name of the model that is served."""


def embeddings(call: Call, embedded: Embedded, served: str) -> dict[str, Any]:
    """Jina's and OpenAI's list of embeddings."""
    forms = {name: _form(embedded.vectors, name) for name in call.formats}
    first = forms[call.formats[0]]
    data: list[dict[str, Any]] = [
        {"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(first)
    ]
    if len(forms) > 1:
        for index, row in enumerate(data):
            row["embeddings"] = {name: form[index] for name, form in forms.items()}
    usage = {"total_tokens": embedded.tokens, "prompt_tokens": embedded.tokens}
    return {"model": call.model or served, "object": "list", "usage": usage, "data": data}


def tei(call: Call, embedded: Embedded, served: str) -> Vectors:
    """Text Embeddings Inference's bare list of vectors."""
    return embedded.vectors


def pinecone(call: Call, embedded: Embedded, served: str) -> dict[str, Any]:
    """Pinecone's list of dense embeddings."""
    return {
        "model": call.model or served,
        "vector_type": "dense",
        "data": [{"values": vector, "vector_type": "dense"} for vector in embedded.vectors],
        "usage": {"total_tokens": embedded.tokens},
    }


def encode(body: Any) -> bytes:
    """JSON; float32 in the fewest digits that read back as the same number."""
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _form(vectors: Vectors, name: str) -> Any:
    return quantize(np.ascontiguousarray(vectors), FORMATS[name])
