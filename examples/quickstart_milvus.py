"""Milvus in a file with the bundled model: text goes in where vectors would, questions find it. Needs `milvus-lite`, too."""

import tempfile

from taskvec_integrations.milvus import MilvusStore, TaskvecMilvusClient, TextCollection
from taskvec_integrations.store import Document

FACTS = ["The moon pulls at the sea, so the tides rise and fall.", "Yeast turns sugar into gas, which makes bread rise."]
CURIE = ["Marie Curie was born in Warsaw in 1867.", "She shared the Nobel Prize in Physics.", "Her daughter won one, too."]

with tempfile.TemporaryDirectory() as folder:
    client = TaskvecMilvusClient(f"{folder}/milvus.db", encoder="mini", text_field="text")  # without encoder=: the real model
    TextCollection(dimensions=256).create(client, "facts", consistency_level="Strong")
    client.insert("facts", [{"id": str(number), "text": text} for number, text in enumerate(FACTS)])  # the passage adapter
    (hits,) = client.search("facts", data=["What causes the tides?"], limit=1, output_fields=["text"])  # the query adapter
    print(f"{hits[0]['distance']:.2f}  {hits[0]['entity']['text']}")

    store = MilvusStore(client, "documents", encoder="mini", late_chunking=True)  # whole documents, a run that can be repeated
    print(store.ingest([Document("curie", chunks=CURIE, payload={"kind": "person"}), ("bread", FACTS[1])]))
    for hit in store.search("Which prize did Curie share?", limit=2, filter='kind == "person"'):
        print(f"{hit.score:.2f}  {hit.document_id} {hit.chunk}: {hit.text}")
    client.close()
