"""The peers of encode.py on the same weights: sentence-transformers, transformers itself, ONNX Runtime, bare products."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from support.checkpoints import Shape
from taskvec import Encoder
from taskvec.packing import TokenSequence, pack

INPUTS = ["input_ids", "attention_mask"]


def sentence_transformer(folder: Path, dtype: torch.dtype) -> Any:
    """The peer as its users have it: transformers' model, mean pooling, normalisation."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    transformer = Transformer(str(folder), model_kwargs={"dtype": dtype})
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    return SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")


def padded_transformers(peer: Any, texts: Sequence[str], size: int) -> Any:
    """transformers' own model over padded batches in input order, as its documentation has it (mean pooled, normalised)."""
    return _padded(peer, lambda batch: peer[0].auto_model(**batch).last_hidden_state, texts, size)


def onnx_runtime(peer: Any, folder: Path) -> Callable[[Sequence[str], int, bool], Any]:
    """ONNX Runtime in float32, the backend of fastembed: the peer's own model exported, all graph optimisations on."""
    import onnxruntime

    model, file = peer[0].auto_model, folder / "model.onnx"
    example = tuple(torch.ones(2, 16, dtype=torch.int64) for _ in range(2))
    dynamic = {0: torch.export.Dim("batch", max=4096), 1: torch.export.Dim("length", min=2, max=8192)}
    torch.onnx.export(
        _StatesOnly(model), example, str(file), input_names=INPUTS, dynamo=True, dynamic_shapes=(dynamic, dynamic), verbose=False
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def states(batch: Any) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {name: batch[name].numpy() for name in INPUTS})[0])

    def run(texts: Sequence[str], size: int, by_length: bool) -> Any:
        return _padded(peer, states, sorted(texts, key=len) if by_length else texts, size)

    return run


class _StatesOnly(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> Any:
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state


@torch.inference_mode()
def _padded(peer: Any, states: Callable[[Any], torch.Tensor], texts: Sequence[str], size: int) -> torch.Tensor:
    vectors = []
    for start in range(0, len(texts), size):
        batch = peer.tokenizer(list(texts[start : start + size]), padding=True, truncation=True, return_tensors="pt")
        mask = batch["attention_mask"].unsqueeze(-1).float()
        pooled = (states(batch).float() * mask).sum(1) / mask.sum(1)
        vectors.append(F.normalize(pooled, dim=1))
    return torch.cat(vectors)


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
    """The matrix products of the layers alone, for batches of the given lengths; where asked for, attention by torch's kernel.

    That kernel on contiguous heads is the fastest attention here: as two bare products it takes twice as long.
    """
    width, inner = shape.width, shape.inner
    sizes = ((3 * width, width), (width, width), (inner, width), (width, inner))
    layers = [[torch.randn(size, dtype=dtype) for size in sizes] for _ in range(shape.layers)]
    longest = max(sum(lengths) for lengths in batches)
    inputs = {columns: torch.randn(longest, columns, dtype=dtype) for _, columns in sizes}
    heads = torch.randn(1, shape.heads, longest, width // shape.heads, dtype=dtype)

    @torch.inference_mode()
    def run() -> None:
        for lengths in batches:
            for weights in layers:
                for weight in weights:
                    F.linear(inputs[weight.shape[1]][: sum(lengths)], weight)
                for length in lengths if attention else ():
                    own = heads[:, :, :length]
                    F.scaled_dot_product_attention(own, own, own)

    return run
