"""Two vectors of each text, a quarter and the whole: the small one finds candidates, the full one ranks them.

A server keeps the small ones in RAM as int8 (96 bytes here) and the full ones on disk as float16; the plan is arguments for
the client's own methods. Embedded Qdrant runs it all but stores float32.

python examples/matryoshka_two_stage.py
"""

from qdrant_client.models import PointStruct

from taskvec import Encoder
from taskvec_integrations.demo.text import QUESTIONS, read_sections
from taskvec_integrations.qdrant import TaskvecQdrantClient, TwoStageSearch

SECTIONS = read_sections()[:40]  # of Python's language reference, each a document of a few chunks
LIMIT = 5

encoder = Encoder.from_pretrained("mini")
client = TaskvecQdrantClient(":memory:", encoder=encoder)
plan = TwoStageSearch("mini", dimensions=encoder.dimensions)
client.create_collection("reference", **plan.collection())

chunks = [(number, chunk) for number, section in enumerate(SECTIONS) for chunk in section]
client.upload_points(
    "reference",
    (
        PointStruct(id=i, vector=plan.vectors(chunk.text, {"document_id": number}), payload={"heading": chunk.heading})
        for i, (number, chunk) in enumerate(chunks)
    ),
)

same = 0
for question in QUESTIONS:
    exact = client.query_points("reference", plan.query(question)["query"], using="full", limit=LIMIT).points
    found = client.query_points("reference", **plan.query(question, limit=LIMIT)).points
    same += len({hit.id for hit in exact} & {hit.id for hit in found})
print(f"{len(chunks)} chunks, {plan.small_dimensions} of {plan.dimensions} dimensions in the first stage")
print(f"{same / (LIMIT * len(QUESTIONS)):.0%} of the {LIMIT} best are those that the full vectors alone find\n")

answer = client.query_points_groups("reference", **plan.groups("How are backslashes treated?", group_by="heading", limit=3))
for group in answer.groups:
    print(f"{group.hits[0].score:.2f}  {group.id} ({len(group.hits)} chunks)")
client.close()
encoder.close()
