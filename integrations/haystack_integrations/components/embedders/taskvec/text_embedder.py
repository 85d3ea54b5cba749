"""The component of query pipelines: one text to one embedding, by the query task."""

from dataclasses import dataclass
from typing import Any, ClassVar

from haystack import component

from haystack_integrations.components.embedders.taskvec.base_embedder import TO_PRECISION, BaseEmbedder
from taskvec import EncodeOptions, Task, Usage
from taskvec.integration import QUERY_TASK, run_in_thread


@component
@dataclass(eq=False, repr=False)
class TaskvecTextEmbedder(BaseEmbedder):
    """Embeds a question for an embedding retriever.

        embedder = TaskvecTextEmbedder("mini")
        embedding = embedder.run("Why does bread rise?")["embedding"]

    Give it the model, dimensions and precision of the document embedder.

    Args:
        model: A hub id, a local folder or "mini", the small English model. Loaded at the first run, once per process for all
            components of equal settings.
        task: "auto" is retrieval.query here and retrieval.passage in TaskvecDocumentEmbedder. Another task by its name; None for
            the bare model.
        dimensions: Numbers of a vector, before precision; None is the model's full width.
        precision: "float32", "float16", "int8" (keeps the cosine), "binary" or "ubinary" (8 dimensions a number).
        prefix: Put before the text.
        suffix: Put after the text.
        revision: As in `taskvec.Encoder.from_pretrained`, like dtype and max_batch_tokens.
        device: A ComponentDevice, a device's name like "cuda:1", a list of names, or None for the best there is.
        dtype: See revision.
        max_batch_tokens: See revision.
        token: Of the hub, for private models; HF_API_TOKEN or HF_TOKEN unless another Secret is given.

    Raises:
        TypeError: A parameter has the wrong type.
        ValueError: The task or the precision is unknown.
    """

    operation: ClassVar[Task] = QUERY_TASK

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    def run(self, text: str) -> dict[str, Any]:
        """Embed one text.

        Args:
            text: The question, without instruction: the task has its own.

        Returns:
            "embedding", a list of numbers, and "meta" with "model", "tokens" (read, special ones included) and "truncated" (1
            where the text was cut at the model's context).

        Raises:
            TypeError: The text is not a str.
            ValueError: The model does not have that many dimensions, or the precision does not allow them.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"TaskvecTextEmbedder got {type(text).__name__}, a str was expected: TaskvecDocumentEmbedder embeds Documents"
            )
        encoder, usage = self._lazy.get(), Usage()
        options: EncodeOptions = {**self._encode_options(encoder), "usage": usage}
        vectors = encoder.encode([self.prefix + text + self.suffix], **options)
        meta = {"model": encoder.model_id, "tokens": usage.tokens, "truncated": usage.truncated}
        return {"embedding": TO_PRECISION[self.precision](vectors)[0].tolist(), "meta": meta}

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    async def run_async(self, text: str) -> dict[str, Any]:
        """`run` in a thread; cancelling it ends the work at the next batch."""
        return await run_in_thread(self.run, text)
