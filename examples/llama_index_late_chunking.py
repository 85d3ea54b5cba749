"""LlamaIndex with late chunking: "it" and "the city" are found by what they stand for. Nothing is downloaded.

python examples/llama_index_late_chunking.py
"""

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter

from taskvec_integrations.llama_index import TaskvecEmbedding

ARTICLES = {
    "Berlin": "Berlin is the capital of Germany. The city has 3.8 million inhabitants. It lies on the Spree. From 1961 to 1989 "
    "a wall divided it.",
    "Prague": "Prague is the capital of Czechia. The city has 1.4 million inhabitants. It lies on the Vltava. Its castle is among "
    "the largest in the world.",
    "Sourdough": "Sourdough is bread that rises with wild yeast. Its starter is fed every day. It is baked in a very hot oven.",
}
QUESTIONS = ["How many people live in Prague?", "Which river flows through Berlin?", "How is sourdough baked?"]

documents = [Document(id_=title, text=text) for title, text in ARTICLES.items()]
for late_chunking in (False, True):
    embedding = TaskvecEmbedding(model_name="mini", late_chunking=late_chunking)  # without model_name: jina-embeddings-v3
    splitter = SentenceSplitter(chunk_size=16, chunk_overlap=0, include_metadata=False, tokenizer=embedding.token_count)
    # As a transformation it sees which nodes are one document; as embed_model it embeds the questions.
    index = VectorStoreIndex.from_documents(documents, transformations=[splitter, embedding], embed_model=embedding)
    retriever = index.as_retriever(similarity_top_k=1)
    print("With late chunking" if late_chunking else "Each chunk on its own")
    for question in QUESTIONS:
        (hit,) = retriever.retrieve(question)
        print(f"  {question}\n    {hit.score:.2f}  {hit.node.ref_doc_id}: {hit.text}")
    embedding.close()
