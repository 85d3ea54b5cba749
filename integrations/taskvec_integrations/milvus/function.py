"""An embedding function in the shape that pymilvus-model's have, with taskvec's encoder behind it.

Not a subclass of its BaseEmbeddingFunction: that has two abstract methods and nothing else, is never tested for with isinstance,
and importing it imports transformers, which takes seconds.
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

    Vectors come as lists with one value for each text, of the type that pymilvus takes in rows and in searches: arrays
    (dimensions,) of the precision's dtype, or bytes for binary.

    Args:
        encoder: see `Store`. A model that was loaded by name is never pickled.
        dimensions: of the vectors. None is the model's full width.
        late_chunking: whether the texts of one call are the consecutive chunks of one document and share its context, as in
            Jina's function. Queries never do.
        precision: "float32", "float16", "bfloat16", "int8" or "binary", for FLOAT_VECTOR, FLOAT16_VECTOR, BFLOAT16_VECTOR,
            INT8_VECTOR and BINARY_VECTOR fields.
        document_task: the task of texts that are stored, see `TaskChoice`.
        query_task: the task of texts that search.

    Raises:
        TypeError: `encoder` or `late_chunking` has the wrong type.
        ValueError: a task or the precision is unknown, or `dimensions` does not fit the precision.
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
        kind = vector_type(precision)
        if dimensions is not None:
            kind.check_dimensions(dimensions)

    @property
    def dim(self) -> int:
        """The `dim` of a field for these vectors; loads the model if `dimensions` is None."""
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
        items = [texts] if isinstance(texts, str) else texts
        dimensions = self._settings.dimensions
        vectors = self._encoder.get().encode(items, task=task, dimensions=dimensions, late_chunking=late_chunking)
        return list(vector_type(self.precision).pack(vectors))
