"""One point for a whole text: its late chunks as the rows of a multivector, scored by the best of them (MaxSim).

The chunks are encoded together, so "it" and "she" know what they mean. A hit is a whole text: Qdrant does not say which of its
rows was the best, so where the passage matters give each chunk a point of its own (`document_id`, or a store).

python examples/late_chunking_multivector.py
"""

from qdrant_client.models import Distance, Document, MultiVectorComparator, MultiVectorConfig, PointStruct, VectorParams

from taskvec import Encoder
from taskvec_integrations.qdrant import TaskvecQdrantClient

ARTICLES = {
    "Marie Curie": "Marie Curie was born in Warsaw in 1867 and moved to Paris at the age of 24. She studied physics and "
    "mathematics at the Sorbonne. With her husband she discovered polonium and radium. She was the first woman to win a Nobel "
    "Prize, and the first person to win it twice. She died in 1934 from an illness that her work with radiation had caused.",
    "Berlin": "Berlin is the capital of Germany and its largest city. It lies on the river Spree, in the flat north-east of the "
    "country. About 3.8 million people live there. From 1961 to 1989 a wall divided it. Its museums and clubs draw millions of "
    "visitors every year.",
    "Sourdough": "Sourdough is bread that rises with wild yeast. The starter, a paste of flour and water, is fed every day. It "
    "takes about a week until it is strong enough. The dough rests overnight in a cool place. It is baked in a very hot oven.",
}
QUESTIONS = ["How many people live in Berlin?", "What did Marie Curie die of?", "How long does a sourdough starter take?"]

encoder = Encoder.from_pretrained("mini")
client = TaskvecQdrantClient(":memory:", encoder=encoder)
maxsim = MultiVectorConfig(comparator=MultiVectorComparator.MAX_SIM)
rows = VectorParams(size=encoder.dimensions, distance=Distance.COSINE, multivector_config=maxsim)
client.create_collection("articles", rows)

options = {"chunk_tokens": 32}  # chunks of at most 32 tokens; spans=[(start, stop), ...] are your own
points = [
    PointStruct(id=i, vector=Document(text=text, model="mini", options=options), payload={"title": title})
    for i, (title, text) in enumerate(ARTICLES.items())
]
client.upsert("articles", points)

for question in QUESTIONS:
    query = Document(text=question, model="mini", options=options)  # the same options: a short text is one chunk
    best, *_ = client.query_points("articles", query, limit=1, with_vectors=True).points
    print(f"{question}\n  {best.score:.2f}  {best.payload['title']}, {len(best.vector)} chunks in one point")
client.close()
encoder.close()
