"""What models and precisions are called. Light to import, so that the command line's help can name them."""

from typing import Literal, get_args

DEFAULT_MODEL = "jinaai/jina-embeddings-v3-hf"
"""The hub id of the weights in transformers' own layout."""

MINI = "mini"
"""The small English model that comes with the package (its card is mini/README.md)."""

JINA_MODELS = ("jinaai/jina-embeddings-v3", DEFAULT_MODEL, "jina-embeddings-v3")
"""Names that clients and frameworks use for jina-embeddings-v3, wherever its weights were loaded from."""

Precision = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary", "base64"]
"""The output type of vectors."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
