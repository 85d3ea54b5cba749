"""A Haystack index whose chunks know what "it" and "she" mean: late chunking in an indexing pipeline, the query task by itself.

python examples/haystack_rag_index.py
"""

from haystack import Document, Pipeline
from haystack.components.preprocessors import DocumentCleaner, DocumentSplitter
from haystack.components.retrievers import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore

from haystack_integrations.components.embedders.taskvec import TaskvecDocumentEmbedder, TaskvecTextEmbedder

ARTICLES = {
    "Marie Curie": "Marie Curie was born in Warsaw in 1867 and moved to Paris at the age of 24. She studied physics and "
    "mathematics at the Sorbonne. With her husband she discovered polonium and radium. She was the first woman to win a Nobel "
    "Prize. She died in 1934 from an illness that her work with radiation had caused.",
    "Berlin": "Berlin is the capital of Germany and its largest city. It lies on the river Spree. Nearly four million people "
    "live there. From 1961 to 1989 a wall divided it. Its museums and clubs draw millions of visitors every year.",
}
QUESTIONS = ["How many people live in Berlin?", "Which elements did Marie Curie discover?", "Where did Marie Curie study?"]

store = InMemoryDocumentStore(embedding_similarity_function="cosine")
index = Pipeline()
index.add_component("cleaner", DocumentCleaner())  # before the splitter, so that chunks are where they say
index.add_component("splitter", DocumentSplitter(split_by="period", split_length=1))
index.add_component("embedder", TaskvecDocumentEmbedder("mini", late_chunking=True))  # without "mini": the real model
index.add_component("writer", DocumentWriter(store))
index.connect("cleaner", "splitter")
index.connect("splitter", "embedder.documents")
index.connect("embedder.documents", "writer")
index.run({"cleaner": {"documents": [Document(content=text, meta={"title": title}) for title, text in ARTICLES.items()]}})

search = Pipeline()
search.add_component("embedder", TaskvecTextEmbedder("mini"))
search.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=2))
search.connect("embedder.embedding", "retriever.query_embedding")
for question in QUESTIONS:
    print(question)
    for hit in search.run({"embedder": {"text": question}})["retriever"]["documents"]:
        print(f"  {hit.score:.2f}  {hit.meta['title']}: {(hit.content or '').strip()}")
