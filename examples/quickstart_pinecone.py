"""Documents in, answers out: a Pinecone index filled and searched with vectors that are made on this machine.

PINECONE_API_KEY=... PINECONE_INDEX_HOST=... python examples/quickstart_pinecone.py    # an index of dimension 384, metric cosine
python examples/quickstart_pinecone.py    # without a key: a server with Pinecone's API on this machine, `pip install needledb`
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError

from pinecone import Pinecone

from taskvec_integrations.pinecone import PineconeStore
from taskvec_integrations.store import Document

DOCUMENTS = [
    Document("curie", "Marie Curie shared the Nobel Prize in Physics with her husband in 1903.", payload={"kind": "person"}),
    Document("bread", "Yeast turns sugar into gas, which makes bread rise.", payload={"kind": "food"}),
    Document("lights", "The northern lights are oxygen and nitrogen, excited by the solar wind.", payload={"kind": "sky"}),
    Document("starter", "A sourdough starter is fed with flour and water every day.", payload={"kind": "food"}),
]


@contextmanager
def local_index() -> Iterator[str]:
    """The host of an index in a server that lives as long as the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "needledb", "serve", "--no-auth", "--data", folder, "--port", str(port)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                index = json.dumps({"name": "quickstart", "dimension": 384, "metric": "cosine"}).encode()
                while server.poll() is None:
                    try:
                        urllib.request.urlopen(f"http://127.0.0.1:{port}/indexes", index).close()
                        break
                    except URLError:  # it is starting
                        time.sleep(0.1)
                else:
                    sys.exit("needledb did not start: pip install needledb, or set PINECONE_API_KEY and PINECONE_INDEX_HOST")
                yield f"http://127.0.0.1:{port}/indexes/quickstart"
            finally:
                server.terminate()


def main(api_key: str, host: str) -> None:
    """Ingest and search."""
    index = Pinecone(api_key=api_key).Index(host=host)
    store = PineconeStore(index, encoder="mini", namespace="facts")  # or encoder="jinaai/jina-embeddings-v3-hf", dimension 1024
    print(store.ingest(DOCUMENTS))  # encoded as passages; a second run finds nothing to do
    for question in ["Why does the sky glow green?", "What makes dough grow?"]:
        print(question)
        for hit in store.search(question, limit=2):  # encoded as a query
            print(f"  {hit.score:.2f}  {hit.text}")
    print("  only food:", store.search("Who won a prize?", limit=1, filter={"kind": {"$eq": "food"}})[0].document_id)
    index.close()


if __name__ == "__main__":
    if "PINECONE_API_KEY" in os.environ:
        main(os.environ["PINECONE_API_KEY"], os.environ["PINECONE_INDEX_HOST"])
    else:
        with local_index() as host:
            main("none", host)
