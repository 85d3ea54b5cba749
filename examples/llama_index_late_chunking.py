"""LlamaIndex with late chunking: chunks that say "the city" are found by the city they are about. Nothing is downloaded.

python examples/llama_index_late_chunking.py
"""

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.node_parser import SentenceWindowNodeParser

from taskvec_integrations.llama_index import TaskvecEmbedding

CITIES = {
    "Vienna": "Vienna is the capital of Austria and stands on the Danube. The city has two million inhabitants. "
    "Its first underground line was opened in 1978.",
    "Lisbon": "Lisbon is the capital of Portugal and stands on the Tagus. The city has half a million inhabitants. "
    "Its first underground line was opened in 1959.",
    "Oslo": "Oslo is the capital of Norway and stands at the end of a fjord. The city has seven hundred thousand inhabitants. "
    "Its first underground line was opened in 1966.",
}
QUESTIONS = ["How many people live in Lisbon?", "How many inhabitants has Vienna?", "When did Lisbon's underground open?"]

documents = [Document(id_=name, text=text) for name, text in CITIES.items()]
for late_chunking in (False, True):
    embedding = TaskvecEmbedding(model_name="mini", late_chunking=late_chunking)  # without model_name: jina-embeddings-v3
    sentences = SentenceWindowNodeParser(window_size=1)
    # As a transformation it sees which nodes are one document; as embed_model it embeds the questions.
    index = VectorStoreIndex.from_documents(documents, transformations=[sentences, embedding], embed_model=embedding)
    retriever = index.as_retriever(similarity_top_k=1)
    print("With late chunking" if late_chunking else "Each chunk on its own")
    for question in QUESTIONS:
        (hit,) = retriever.retrieve(question)
        print(f"  {question}\n    {hit.score:.2f}  {hit.node.ref_doc_id}: {hit.text}")
    embedding.close()
