"""On documents whose chunks say "it" and "she", late chunking as a transformation finds more of the right chunks."""

import json
from collections.abc import Callable

import numpy as np
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.storage.kvstore import SimpleKVStore

from support.llama_index_texts import PatternSplitter
from support.paths import ANAPHORA
from taskvec_integrations.llama_index import TaskvecEmbedding

Make = Callable[..., TaskvecEmbedding]


def ranks(index: VectorStoreIndex, questions: list[tuple[str, str]]) -> np.ndarray:
    """1 / log2(1 + rank) of the right chunk among ten, 0 where it is not there: nDCG@10 of each question."""
    retriever = index.as_retriever(similarity_top_k=10)
    found = [[hit.text for hit in retriever.retrieve(question)] for question, _ in questions]
    return np.array(
        [1 / np.log2(2 + texts.index(right)) if right in texts else 0 for texts, (_, right) in zip(found, questions, strict=True)]
    )


def test_it_finds_more_of_what_pronouns_hide(make: Make) -> None:
    data = json.loads(ANAPHORA.read_text())["documents"]
    questions = [(asked["question"], one["chunks"][asked["chunk"]]) for one in data for asked in one["questions"]]
    gains = []
    queries = SimpleKVStore()  # the same for both
    for late in (True, False):
        embedding = make(late_chunking=late, embeddings_cache=queries)
        documents = [Document(id_=one["id"], text="\n\n".join(one["chunks"])) for one in data]
        transformations = [PatternSplitter(pattern="\n\n"), embedding]
        index = VectorStoreIndex.from_documents(documents, transformations=transformations, embed_model=embedding)
        assert len(index.docstore.docs) == 448
        gains.append(ranks(index, questions))
    difference = gains[0] - gains[1]
    picks = np.random.default_rng(0).integers(len(difference), size=(2000, len(difference)))
    low, high = np.quantile(difference[picks].mean(axis=1), [0.025, 0.975])
    print(f"nDCG@10 late {gains[0].mean():.3f}, without {gains[1].mean():.3f}, difference [{low:.3f}, {high:.3f}]")
    assert low > 0
