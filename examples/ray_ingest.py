"""From one machine to a cluster: a folder of Parquet into a vector store by many actors, and embeddings as a column.

python examples/ray_ingest.py          (on a cluster: RAY_ADDRESS=auto, a server's URL, the real model, num_gpus=1)
"""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from taskvec_integrations.ray import EmbedQueries, ingest_dataset
from taskvec_integrations.store_url import StoreURL

PAGES = {
    "curie": "Marie Curie was born in Warsaw in 1867. She shared the Nobel Prize in Physics in 1903.",
    "bread": "Yeast turns sugar into gas, which makes bread rise. A sourdough starter is fed every day.",
    "aurora": "The northern lights are oxygen and nitrogen. They are excited by the solar wind.",
}
QUESTIONS = ["Why does the sky glow green?", "What makes dough grow?"]

ray.init(
    address="local",
    num_cpus=2,
    include_dashboard=False,
    log_to_driver=False,
    logging_level="ERROR",
    object_store_memory=100_000_000,
)
with tempfile.TemporaryDirectory() as folder:
    pq.write_table(pa.table({"id": list(PAGES), "text": list(PAGES.values())}), Path(folder) / "pages.parquet")
    pages = ray.data.read_parquet(folder)  # or "s3://...", a Hugging Face dataset, a list of files
    url = f"qdrant://{folder}/index"  # or qdrant://host:6333, milvus://host:19530, pinecone://index

    settings = {"model": "mini", "late_chunking": True, "chunk_tokens": 24}
    print(ingest_dataset(pages, url, collection="pages", **settings))
    print(ingest_dataset(pages, url, collection="pages", **settings))  # nothing is encoded twice

    with StoreURL.parse(url).open("pages", encoder="mini", late_chunking=True) as store:
        for question in QUESTIONS:
            print(question, store.search(question, limit=1)[0].text, sep="\n  ")

embedded = ray.data.from_items([{"text": question} for question in QUESTIONS]).map_batches(
    EmbedQueries,  # or EmbedDocuments, or EmbedChunks for lists of chunks with late chunking
    fn_constructor_kwargs={"model": "mini", "dimensions": 64},
    compute=ray.data.ActorPoolStrategy(size=1),
    num_cpus=0.5,
)
print([row["embedding"].shape for row in embedded.iter_rows()])
ray.shutdown()
