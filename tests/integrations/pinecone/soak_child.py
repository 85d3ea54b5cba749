"""A process that ingests into an emulated Pinecone and may be killed: `python soak_child.py MODEL URL COUNT`.

Texts of 1 KB, random vectors of 1024 numbers that need all their digits. Prints documents done, then what the report counts.
"""

import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pinecone

from taskvec import Encoder
from taskvec_integrations.pinecone import PineconeStore
from taskvec_integrations.pinecone.backend import PineconeBackend

sys.path.insert(0, str(Path(__file__).parents[2]))
from support.pinecone.emulator import KEY

WIDTH = 1024


def text_of(number: int) -> str:
    """1 KB of text."""
    return f"Record {number} says. ".ljust(1024, "abcdefghijklmnop"[number % 16])


def vector_of(text: str) -> np.ndarray[Any, Any]:
    """A random unit vector, the same for the same text."""
    vector = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(WIDTH, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def main(model: str, url: str, count: int) -> None:
    """Ingest `count` texts."""
    PineconeBackend.first_wait = 0.05

    def encode_iter(texts: Iterable[str], **options: Any) -> Iterator[np.ndarray[Any, Any]]:
        return map(vector_of, texts)

    client: Any = pinecone.Pinecone(api_key=KEY)
    with Encoder.from_pretrained(model, device="cpu", dtype="float32") as encoder:
        encoder.encode_iter = encode_iter  # type: ignore[method-assign]
        store = PineconeStore(client.Index(host=url), namespace="docs", encoder=encoder, chunk_tokens=None)
        documents = ((number, text_of(number)) for number in range(count))
        report = store.ingest(documents, progress=lambda done, total: print(done, flush=True))
    print(json.dumps({"chunks": asdict(report.chunks), "retries": report.retries, "seconds": report.seconds}), flush=True)


if __name__ == "__main__":
    model, url, count = sys.argv[1:]
    main(model, url, int(count))
