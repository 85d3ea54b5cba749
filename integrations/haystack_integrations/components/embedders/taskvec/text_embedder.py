"""The component of query pipelines: one text to one embedding, by the query task."""

from dataclasses import dataclass
from typing import Any, ClassVar

from haystack import component

from haystack_integrations.components.embedders.taskvec.settings import PACK, Embedder
from taskvec import EncodeOptions, Task, Usage
from taskvec.integration import QUERY_TASK, run_in_thread


@component
@dataclass(eq=False, repr=False)
class TaskvecTextEmbedder(Embedder):
    """Embeds a question for an embedding retriever.

        embedder = TaskvecTextEmbedder("mini")
        embedding = embedder.run("Why does bread rise?")["embedding"]

    model: a hub id, a folder in either checkpoint layout, or "mini"; loaded at the first run, once for all components of the same
    settings. task: "auto" is retrieval.query; one of the five, or None for the bare model. dimensions: None is the model's width.
    precision: float32, float16, int8 (the cosine stays), binary or ubinary (8 dimensions a number). prefix, suffix: put around
    the text. revision, token: of the hub. device: a ComponentDevice, "cuda:1", a list, None for the best there is. dtype,
    max_batch_tokens: as in `Encoder.from_pretrained`. Use the model, dimensions and precision of the document embedder.
    """

    operation: ClassVar[Task] = QUERY_TASK

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    def run(self, text: str) -> dict[str, Any]:
        """{"embedding": ..., "meta": {"model", "tokens", "truncated"}} of a text; TypeError for anything but a str."""
        if not isinstance(text, str):
            raise TypeError(
                f"TaskvecTextEmbedder got {type(text).__name__}, a str was expected: TaskvecDocumentEmbedder embeds Documents"
            )
        encoder, usage = self._lazy.get(), Usage()
        options: EncodeOptions = {**self._options(encoder), "usage": usage}
        vectors = encoder.encode([self.prefix + text + self.suffix], **options)
        meta = {"model": encoder.model_id, "tokens": usage.tokens, "truncated": usage.truncated}
        return {"embedding": PACK[self.precision](vectors)[0].tolist(), "meta": meta}

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    async def run_async(self, text: str) -> dict[str, Any]:
        """`run` in a thread; cancelling it ends the work at the next batch."""
        return await run_in_thread(self.run, text)
