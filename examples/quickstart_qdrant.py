"""Texts in, answers out: Qdrant with taskvec as its embedder, no server and no download needed.

python examples/quickstart_qdrant.py
"""

from qdrant_client.models import Distance, Document, PointStruct, VectorParams

from taskvec_integrations.qdrant import TaskvecQdrantClient

TEXTS = [
    "Marie Curie shared the Nobel Prize in Physics with her husband in 1903.",
    "Yeast turns sugar into gas, which makes bread rise.",
    "The northern lights are oxygen and nitrogen, excited by the solar wind.",
    "A sourdough starter is fed with flour and water every day.",
]

client = TaskvecQdrantClient(":memory:", encoder="mini")  # or url="http://localhost:6333", encoder="jinaai/jina-embeddings-v3-hf"
client.create_collection("facts", VectorParams(size=384, distance=Distance.COSINE))
points = (PointStruct(id=i, vector=Document(text=text, model="mini"), payload={"text": text}) for i, text in enumerate(TEXTS))
client.upload_points("facts", points)  # encoded as passages, a block at a time

for question in ["Why does the sky glow green?", "What makes dough grow?"]:
    print(question)
    for hit in client.query_points("facts", query=Document(text=question, model="mini"), limit=2).points:  # encoded as a query
        print(f"  {hit.score:.2f}  {hit.payload['text']}")
client.close()
