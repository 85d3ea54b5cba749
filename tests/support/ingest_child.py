"""A process that ingests and may be killed: `python ingest_child.py MODEL WHERE COUNT LATE COUNTER`.

WHERE is the folder or the URL of a Qdrant, or the URI of a Milvus after "milvus:". How many chunks the encoder has taken is kept
in the file COUNTER, which outlives a kill; documents done are printed as they are, the report's numbers at the end.
"""

import json
import mmap
import struct
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pymilvus import MilvusClient
from qdrant_client import QdrantClient

from taskvec import Encoder
from taskvec_integrations.milvus import MilvusStore
from taskvec_integrations.qdrant import QdrantStore
from taskvec_integrations.store import Document, Store

MAX_BATCH_TOKENS = 256
CHUNKS = 5


def documents(count: int) -> Iterator[Document]:
    """Documents of five short chunks, `count` chunks in all."""
    for number in range(count // CHUNKS):
        yield Document(number, chunks=[f"Chunk {chunk} of document {number} says {number**2}." for chunk in range(CHUNKS)])


def open_store(where: str, **settings: Any) -> tuple[Any, Store]:
    """A client, and a store on its collection docs."""
    if where.startswith("milvus:"):
        milvus = MilvusClient(where.removeprefix("milvus:"))
        return milvus, MilvusStore(milvus, "docs", **settings)
    client = QdrantClient(where, check_compatibility=False) if where.startswith("http") else QdrantClient(path=where)
    return client, QdrantStore(client, "docs", **settings)


def main(model: str, where: str, count: int, late: bool, counter: str) -> None:
    """Ingest, and count what the encoder takes."""
    encoder = Encoder.from_pretrained(model, dtype="float32", device="cpu", max_batch_tokens=MAX_BATCH_TOKENS)
    with Path(counter).open("r+b") as file, mmap.mmap(file.fileno(), 8) as taken:

        def counting(method: Any, weigh: Any) -> Any:
            def encode(items: Any, **options: Any) -> Any:
                def counted() -> Iterator[Any]:
                    for item in items:
                        taken[:8] = struct.pack("q", struct.unpack("q", taken[:8])[0] + weigh(item))
                        yield item

                return method(counted(), **options)

            return encode

        encoder.encode_iter = counting(encoder.encode_iter, lambda text: 1)  # type: ignore[method-assign]
        encoder.encode_spans_iter = counting(encoder.encode_spans_iter, lambda pair: len(pair[1]))  # type: ignore[method-assign]
        client, store = open_store(where, encoder=encoder, dimensions=32, late_chunking=late)
        report = store.ingest(documents(count), progress=lambda done, total: print(done, flush=True))
        print(json.dumps({"chunks": asdict(report.chunks), "most_under_way": report.most_under_way}), flush=True)
        client.close()


if __name__ == "__main__":
    model, where, count, late, counter = sys.argv[1:]
    main(model, where, int(count), late == "late", counter)
