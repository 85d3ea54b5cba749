"""The five tasks of jina-embeddings-v3: which instruction and which adapter each one stands for.

Knows nothing of weights or files. The table follows the model's own configuration
(https://huggingface.co/jinaai/jina-embeddings-v3, ``task_instructions`` and ``lora_adaptations``).
"""

from enum import StrEnum
from typing import Self


class Task(StrEnum):
    """A task of the model: its public name, the adapter's name on disk and the instruction put before each text.

    ``Task("retrieval.query")`` parses a name; an unknown one is a ValueError that lists the five.
    """

    adapter: str
    instruction: str

    def __new__(cls, value: str, adapter: str = "", instruction: str = "") -> Self:
        """Make a member of the table below."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.adapter = adapter
        member.instruction = instruction
        return member

    RETRIEVAL_QUERY = (
        "retrieval.query",
        "retrieval_query",
        "Represent the query for retrieving evidence documents: ",
    )
    RETRIEVAL_PASSAGE = ("retrieval.passage", "retrieval_passage", "Represent the document for retrieval: ")
    SEPARATION = ("separation", "separation", "")
    CLASSIFICATION = ("classification", "classification", "")
    TEXT_MATCHING = ("text-matching", "text_matching", "")

    @classmethod
    def _missing_(cls, value: object) -> Self:
        names = ", ".join(cls)
        raise ValueError(f"unknown task {value!r}: use one of {names}, or None for the bare model")


DOCUMENT_TASK = Task.RETRIEVAL_PASSAGE
"""The task of a text that is indexed."""

QUERY_TASK = Task.RETRIEVAL_QUERY
"""The task of a text that searches."""
