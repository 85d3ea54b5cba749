"""The peers of encode.py on the same weights: sentence-transformers, transformers packed by us, the bare matrix products."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from checkpoints import Shape
from taskvec import Encoder
from taskvec.packing import TokenSequence, pack


def sentence_transformer(folder: Path, dtype: torch.dtype) -> Any:
    """The peer as its users have it: transformers' model, mean pooling, normalisation."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    transformer = Transformer(str(folder), model_kwargs={"dtype": dtype})
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    return SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")


def packed_transformers(folder: Path, dtype: torch.dtype, encoder: Encoder) -> Callable[[Sequence[str]], None]:
    """transformers' own class over the same packed batches, by a registered attention function: what our forward replaces."""
    from transformers import JinaEmbeddingsV3Model
    from transformers.masking_utils import AttentionMaskInterface
    from transformers.modeling_utils import AttentionInterface

    def attend(module: Any, q: Any, k: Any, v: Any, mask: Any, *, lengths: Any, **rest: Any) -> Any:
        parts = zip(*(x.split(lengths, dim=2) for x in (q, k, v)), strict=True)
        return torch.cat([F.scaled_dot_product_attention(*part) for part in parts], 2).transpose(1, 2), None

    AttentionInterface.register("packed", attend)
    AttentionMaskInterface.register("packed", lambda *args, **kwargs: None)
    model = JinaEmbeddingsV3Model.from_pretrained(folder, dtype=dtype, add_pooling_layer=False).eval()
    model.set_attn_implementation("packed")

    def run(texts: Sequence[str]) -> None:
        ids = encoder._tokenizer.encode(texts, "")
        for batch in pack([TokenSequence.whole(one, row) for row, one in enumerate(ids)], encoder.max_batch_tokens):
            packed = batch.to(torch.device("cpu"))
            with torch.inference_mode():
                lengths = list(packed.lengths)
                states = model(input_ids=packed.ids[None], position_ids=packed.positions[None], lengths=lengths)
                F.embedding_bag(packed.pool_tokens, states.last_hidden_state[0].float(), packed.pool_starts, mode="mean")

    return run


def bare_products(shape: Shape, dtype: torch.dtype, batches: Sequence[Sequence[int]], attention: bool) -> Callable[[], None]:
    """The matrix products of the layers alone, for batches of the given lengths, those of attention where asked for."""
    width, inner = shape.width, shape.inner
    sizes = ((3 * width, width), (width, width), (inner, width), (width, inner))
    layers = [[torch.randn(size, dtype=dtype) for size in sizes] for _ in range(shape.layers)]
    longest = max(sum(lengths) for lengths in batches)
    inputs = {columns: torch.randn(longest, columns, dtype=dtype) for _, columns in sizes}
    heads = torch.randn(shape.heads, longest, width // shape.heads, dtype=dtype)

    @torch.inference_mode()
    def run() -> None:
        for lengths in batches:
            for weights in layers:
                for weight in weights:
                    F.linear(inputs[weight.shape[1]][: sum(lengths)], weight)
                for length in lengths if attention else ():
                    own = heads[:, :length]
                    torch.bmm(torch.bmm(own, own.transpose(1, 2)), own)

    return run
