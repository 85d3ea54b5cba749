"""Putting vectors where Documents of our models stand: in one call, or in a stream of points."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from taskvec import Encoder
from taskvec.integration import JINA_MODELS, MINI
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.qdrant.document_options import DocumentOptions, Operation, quote, text_of
from taskvec_integrations.qdrant.encoding import Request, encode, interrupted
from taskvec_integrations.qdrant.find_documents import Inference, rewrite
from taskvec_integrations.qdrant.find_documents import Path as Place
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice

T = TypeVar("T")

# Points of a stream that are encoded together: one such block is sent while one waits and one is encoded.
BLOCK = 256
# The points of a late-chunked document are read whole; one that never ends would keep everything in memory.
MAX_CHUNKS = 10_000


class Block(NamedTuple, Generic[T]):
    """Points of a stream, and the requests in them."""

    points: list[T]
    requests: list[Request]


class Resolver:
    """Resolves Documents of our models with a client's encoder and tasks; Documents of other models stay as they are.

    The bundled model answers to "mini" beside whatever encoder the client has.
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

    def resolve(self, value: T, operation: Operation) -> T:
        """`value` with vectors in place of the Documents of our models; the same object where there are none."""
        requests = self.find(value, operation)
        return self.fill(value, requests) if requests else value

    def find(self, value: Any, operation: Operation) -> list[Request]:
        """The Documents of our models in `value`, their options checked; loads no encoder."""
        requests: list[Request] = []

        def note(document: Inference, path: Place) -> Inference:
            if model := self._models.get(document.model.casefold()):
                options = DocumentOptions.read(document, operation)
                task = options.task_or(self._settings.task(operation))
                requests.append(Request(document, text_of(document), options, path, model, task))
            return document

        rewrite(value, note)
        return requests

    def fill(self, value: T, requests: list[Request]) -> T:
        """`value` with the vectors of the requests that `find` found in it; nothing is changed in place."""
        vectors = iter(encode(requests))

        def put(document: Inference, _: Place) -> Any:
            return next(vectors) if document.model.casefold() in self._models else document

        filled: T = rewrite(value, put)
        return filled

    def blocks(self, points: Iterable[T]) -> Iterator[list[T]]:
        """Points resolved as they are read, a block at a time.

        Where reading or resolving fails, the points before are handed out first.
        """
        for block in self._read(points):
            yield self.fill(block.points, block.requests) if block.requests else block.points

    def _read(self, points: Iterable[T]) -> Iterator[Block[T]]:
        """Blocks of points with their requests; the chunks of a document stay in one block, however many they are."""
        block = Block[T]([], [])
        documents = Documents()
        try:
            for point in points:
                found = self.find(point, "document")
                if not documents.go_on(found) and len(block.points) >= BLOCK:
                    yield block
                    block = Block[T]([], [])
                block.points.append(point)
                block.requests.extend(found)
        except Exception:
            yield block
            raise
        yield block


class Documents:
    """The late-chunked documents of a stream: those that the last point was of, and that none comes back once it is over."""

    def __init__(self) -> None:
        self._current: dict[tuple[object, ...], int] = {}
        self._over: set[int] = set()  # hashes: there may be millions of documents

    def go_on(self, found: list[Request]) -> bool:
        """Whether the next point, with these requests, has a chunk of a document that the one before it has one of, too.

        A document of too many points is a ValueError, and so is one that others stand between.
        """
        before, self._current = self._current, {}
        for request in found:
            if request.options.joined:
                document = (request.path, request.chunk_of)
                if document not in before and hash(document) in self._over:
                    raise interrupted(request)
                self._current[document] = before.get(document, 0) + 1
                if self._current[document] > MAX_CHUNKS:
                    raise _endless(request)
        self._over.update(hash(document) for document in before if document not in self._current)
        return not self._current.keys().isdisjoint(before)


def _endless(request: Request) -> ValueError:
    return ValueError(
        f"{quote(request.document)}: document {request.options.document_id!r} has more than {MAX_CHUNKS:,} points in an upload, "
        "and late chunking reads a document whole before anything is sent: give every document its own document_id"
    )
