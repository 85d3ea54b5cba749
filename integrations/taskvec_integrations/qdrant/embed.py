"""Putting vectors where Documents of our models stand: in one call, or in a stream of points."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from taskvec import Encoder
from taskvec.integration import JINA_MODELS, MINI
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.qdrant.document_options import DocumentOptions, Operation, quote, text_of
from taskvec_integrations.qdrant.encode_requests import DocumentRequest, encode_requests, interrupted_document_error
from taskvec_integrations.qdrant.find_documents import Inference, rewrite
from taskvec_integrations.qdrant.find_documents import Path as DocumentPath
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice, choose_task

T = TypeVar("T")

BLOCK_POINTS = 256
"""Points of a stream that are encoded together. One such block is sent while one waits and one is encoded."""
MAX_CHUNKS = 10_000
"""Chunks of one document in a stream: they are read as a whole, so one that never ends would fill the memory."""


@dataclass
class PointBlock(Generic[T]):
    """Points of a stream, and the requests in them."""

    points: list[T] = field(default_factory=list)
    requests: list[DocumentRequest] = field(default_factory=list)


class DocumentEmbedder:
    """Replaces Documents of our models by vectors; Documents of other models stay as they are.

    The bundled model answers to "mini", whatever encoder the client has.

    Args:
        encoder: the client's encoder, or a model's name.
        document_task: the task of Documents that are stored, see `TaskChoice`.
        query_task: the task of Documents that search.
    """

    def __init__(self, encoder: Encoder | str | Path, document_task: TaskChoice, query_task: TaskChoice) -> None:
        self._settings = EmbedSettings(document_task, query_task)
        client = LazyEncoder(encoder)
        names = {MINI: LazyEncoder(MINI), **dict.fromkeys((*JINA_MODELS, client.name), client)}
        self._models = {name.casefold(): model for name, model in names.items()}

    def close(self) -> None:
        """Let go of the encoders that were loaded here."""
        for model in self._models.values():
            model.close()

    def embed(self, value: T, operation: Operation) -> T:
        """`value` with vectors in place of the Documents of our models; the same object where there are none."""
        requests = self.find_requests(value, operation)
        return self.fill(value, requests) if requests else value

    def find_requests(self, value: Any, operation: Operation) -> list[DocumentRequest]:
        """The Documents of our models in `value`, their options checked; loads no encoder."""
        requests: list[DocumentRequest] = []

        def note(document: Inference, path: DocumentPath) -> Inference:
            if model := self._models.get(document.model.casefold()):
                options = DocumentOptions.from_document(document, operation)
                task = choose_task(options.task, self._settings.task(operation))
                requests.append(DocumentRequest(document, text_of(document), options, path, model, task))
            return document

        rewrite(value, note)
        return requests

    def fill(self, value: T, requests: list[DocumentRequest]) -> T:
        """`value` with the vectors of the requests that `find_requests` found in it; nothing is changed in place."""
        vectors = iter(encode_requests(requests))

        def put(document: Inference, _: DocumentPath) -> Any:
            return next(vectors) if document.model.casefold() in self._models else document

        filled: T = rewrite(value, put)
        return filled

    def embed_stream(self, points: Iterable[T]) -> Iterator[list[T]]:
        """Points with their vectors, read and encoded a block at a time.

        Where reading or encoding fails, the points before are yielded first.
        """
        for block in self._read_blocks(points):
            yield self.fill(block.points, block.requests) if block.requests else block.points

    def _read_blocks(self, points: Iterable[T]) -> Iterator[PointBlock[T]]:
        """Blocks of points with their requests; the chunks of a document stay in one block, however many they are."""
        block = PointBlock[T]()
        documents = DocumentTracker()
        try:
            for point in points:
                requests = self.find_requests(point, "document")
                if not documents.advance(requests) and len(block.points) >= BLOCK_POINTS:
                    yield block
                    block = PointBlock[T]()
                block.points.append(point)
                block.requests.extend(requests)
        except Exception:
            yield block
            raise
        yield block


class DocumentTracker:
    """Follows the late-chunked documents of a stream, which must not come back once other points have followed them."""

    def __init__(self) -> None:
        self._chunk_counts: dict[tuple[object, ...], int] = {}  # of the documents of the last point
        self._ended: set[int] = set()  # hashes: there may be millions of documents

    def advance(self, requests: list[DocumentRequest]) -> bool:
        """Move on to the next point.

        Args:
            requests: those in the point.

        Returns:
            Whether the point has a chunk of a document that the point before it has a chunk of, too.

        Raises:
            ValueError: a document has more than `MAX_CHUNKS` chunks, or other points stand between them.
        """
        before, self._chunk_counts = self._chunk_counts, {}
        for request in requests:
            if request.options.shares_context:
                document = (request.path, request.document_key)
                if document not in before and hash(document) in self._ended:
                    raise interrupted_document_error(request)
                self._chunk_counts[document] = before.get(document, 0) + 1
                if self._chunk_counts[document] > MAX_CHUNKS:
                    raise _too_many_chunks_error(request)
        self._ended.update(hash(document) for document in before if document not in self._chunk_counts)
        return not self._chunk_counts.keys().isdisjoint(before)


def _too_many_chunks_error(request: DocumentRequest) -> ValueError:
    document_id = request.options.document_id
    name = "without a document_id" if document_id is None else repr(document_id)
    return ValueError(
        f"{quote(request.document)}: document {name} has more than {MAX_CHUNKS:,} points in an upload. Late chunking "
        "reads a document as a whole before anything is sent: give every document its own document_id"
    )
