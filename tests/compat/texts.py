"""What the fixtures hold: documents of every shape, the settings of the collections they are in, questions with their answers.

The fixtures were made of exactly this: whoever changes it makes them anew, with the version that made them (make_fixtures.py).
"""

from collections.abc import Mapping
from typing import Any

from taskvec_integrations.store import Document

BREAD = "Sourdough rises by wild yeast. Its starter is fed every day. It is baked in a very hot oven. Steam keeps the crust soft."
BERLIN = "Berlin is the capital of Germany. It lies on the river Spree. Nearly four million people live there."
CURIE = "Marie Curie was born in Warsaw. She won the Nobel Prize in Physics. Her daughter Irène won one, too."
SNOW = "Snow falls in winter. It melts in spring."

DOCUMENTS: list[Document | str | tuple[str | int, str]] = [
    Document("notes/berlin #1", BERLIN, payload={"kind": "city", "people": 3.8, "tags": ["big", "größer"], "capital": True}),
    Document("bread", chunks=BREAD.split(". "), payload={"kind": "food"}),
    Document(7, CURIE, spans=[(0, 31), (18, 66), (67, len(CURIE))], payload={"born": 1867}),
    ("snow", SNOW),
    (8, "The violin has four strings, the guitar six."),
    "A text without an id: dolphins breathe air.",
]
"""A text that is split, chunks, spans that overlap, pairs of id and text, a text alone."""

QUESTIONS = {
    "How many people live in the capital of Germany?": "notes/berlin #1",
    "What is sourdough bread?": "bread",
    "Where was Marie Curie born?": "7",
    "When does snow fall?": "snow",
    "How many strings has a violin?": "8",
}
"""A question, and the document that answers it."""

SEPARATION: Mapping[str, Any] = {"document_task": "separation", "query_task": "separation"}
COLLECTIONS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"dimensions": 32, "chunk_tokens": 12},
    "late": {"dimensions": 32, "chunk_tokens": 12, "late_chunking": True},
    "bare": {"dimensions": 32, "chunk_tokens": None, "document_task": None, "query_task": None},
    "other": {
        "dimensions": 32,
        "chunk_tokens": 12,
        "late_chunking": True,
        "document_task": "separation",
        "query_task": "separation",
    },
}
"""Settings of stores by the name of the collection."""

MODEL: Mapping[str, Any] = {"device": "cpu", "dtype": "float32"}
"""How the bundled model is loaded, so that every machine has the same vectors."""
