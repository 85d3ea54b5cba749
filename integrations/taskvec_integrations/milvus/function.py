"""An embedding function in the shape that pymilvus-model's have, with taskvec's encoder behind it.

Not a subclass of its BaseEmbeddingFunction, which is bare (two abstract methods, nobody asks for it by isinstance) and takes
three seconds to import, with transformers and all.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from taskvec import Encoder, Task
from taskvec.integration import DEFAULT_MODEL
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.milvus.vector_types import vector_type
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice


class TaskvecEmbeddingFunction:
    """Texts to vectors for pymilvus, usable wherever pymilvus-model's JinaEmbeddingFunction is, on your own hardware.

    encoder: an Encoder, or a model's name, which is loaded when it is first needed and never pickled. dimensions: None is the
    model's full width. late_chunking: the texts of one call are the consecutive chunks of one document and share its context
    (as in Jina's function; never for queries). precision: float32, float16, bfloat16, int8 or binary, for FLOAT_VECTOR,
    FLOAT16_VECTOR, BFLOAT16_VECTOR, INT8_VECTOR and BINARY_VECTOR fields. document_task, query_task: another task than
    retrieval.passage and retrieval.query, None for the bare model.

    Vectors come as lists with one value a text in the type that pymilvus takes in rows and in searches: arrays (dimensions,) of
    the precision's dtype, bytes for binary.
    """

    def __init__(
        self,
        encoder: Encoder | str | Path = DEFAULT_MODEL,
        *,
        dimensions: int | None = None,
        late_chunking: bool = False,
        precision: str = "float32",
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
    ) -> None:
        self._encoder = LazyEncoder(encoder)
        self._settings = EmbedSettings(document_task, query_task, dimensions, late_chunking)
        self.precision = precision
        if dimensions is not None:
            vector_type(precision).check_dimensions(dimensions)
        _ = vector_type(precision).data_type

    @property
    def dim(self) -> int:
        """The `dim` of a field for these vectors; loads the model where `dimensions` was not given."""
        return self._settings.dimensions or self._encoder.get().dimensions

    def __call__(self, texts: Iterable[str]) -> list[Any]:
        """The vectors of texts that are stored: `encode_documents`."""
        return self.encode_documents(texts)

    def encode_documents(self, documents: Iterable[str]) -> list[Any]:
        """The vectors of texts that are stored; with late chunking, of the chunks of one document."""
        return self._encode(documents, self._settings.task("document"), self._settings.late_chunking)

    def encode_queries(self, queries: Iterable[str]) -> list[Any]:
        """The vectors of texts that search, each on its own."""
        return self._encode(queries, self._settings.task("query"), False)

    def close(self) -> None:
        """Let go of an encoder that was loaded by name; it is loaded again when it is needed."""
        self._encoder.close()

    def _encode(self, texts: Iterable[str], task: Task | None, late_chunking: bool) -> list[Any]:
        listed = [texts] if isinstance(texts, str) else texts
        dimensions = self._settings.dimensions
        vectors = self._encoder.get().encode(listed, task=task, dimensions=dimensions, late_chunking=late_chunking)
        return list(vector_type(self.precision).pack(vectors))
