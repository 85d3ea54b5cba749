"""The tasks a store chooses are worth choosing: the demo's text found by its headings, with the right and with wrong adapters."""

import numpy as np
import pytest
from numpy.typing import NDArray
from qdrant_client import QdrantClient

from taskvec import Encoder, Task
from taskvec_integrations.demo.text import ReferenceChunk, read_sections
from taskvec_integrations.qdrant import QdrantStore
from taskvec_integrations.store import Document

PLACES = 10


def without_heading(chunk: ReferenceChunk) -> str:
    """The text under a heading; the heading is what we ask for."""
    return chunk.text.split("\n", 1)[-1].strip() if chunk.text.startswith(chunk.heading[:10]) else chunk.text


def ndcg(store: QdrantStore, questions: dict[str, set[str]]) -> NDArray[np.float64]:
    """nDCG@10 of each question; relevant are the chunks under that heading."""
    gain = 1 / np.log2(np.arange(2, PLACES + 2))
    values = []
    for question, relevant in questions.items():
        found = [hit.text in relevant for hit in store.search(question, PLACES)]
        values.append((gain[: len(found)] * found).sum() / gain[: len(relevant)].sum())
    return np.array(values)


@pytest.mark.soak
def test_the_adapters_of_a_store_beat_wrong_ones(mini: Encoder) -> None:
    sections = read_sections()
    headings = dict.fromkeys(chunk.heading for section in sections for chunk in section if len(chunk.heading) > 3)
    texts = [[without_heading(chunk) for chunk in section] for section in sections]
    questions = {
        heading: {without_heading(chunk) for section in sections for chunk in section if chunk.heading == heading}
        for heading in headings
    }
    pairs = {
        "chosen": ("auto", "auto"),
        "swapped": (Task.RETRIEVAL_QUERY, Task.RETRIEVAL_PASSAGE),
        "classification": (Task.CLASSIFICATION, Task.CLASSIFICATION),
    }
    values = {}
    for name, (document_task, query_task) in pairs.items():
        store = QdrantStore(
            QdrantClient(":memory:"), "docs", encoder=mini, document_task=document_task, query_task=query_task, chunk_tokens=None
        )
        store.ingest(Document(number, chunks=[text for text in chunks if text]) for number, chunks in enumerate(texts))
        values[name] = ndcg(store, questions)
    draws = np.random.default_rng(0).integers(0, len(questions), (5000, len(questions)))
    for name in ("swapped", "classification"):
        difference = values[name] - values["chosen"]
        low, high = np.percentile(difference[draws].mean(axis=1), [2.5, 97.5])
        print(f"{name}: nDCG@10 {values[name].mean():.3f} for {values['chosen'].mean():.3f}, {low:+.3f} to {high:+.3f}")
        assert high < 0
