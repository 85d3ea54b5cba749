"""taskvec: jina-embeddings-v3 on your own hardware, with task adapters, any dimensions and late chunking.

    from taskvec import Encoder

    encoder = Encoder.from_pretrained()
    documents = encoder.encode_documents(["The aurora is light from excited oxygen.", "Bread rises by yeast."])
    query = encoder.encode_queries("why does the sky glow green?")
    scores = documents @ query

The heavy parts (torch) are imported when a name that needs them is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from taskvec.errors import CheckpointError
from taskvec.names import DEFAULT_MODEL, MINI
from taskvec.names import Precision
from taskvec.tasks import Task

if TYPE_CHECKING:
    from taskvec.encoder import Encoder
    from taskvec.options import EncodeOptions, Usage
    from taskvec.precision import calibrate, quantize
    from taskvec.shared import shared_encoder

__all__ = [
    "DEFAULT_MODEL",
    "MINI",
    "CheckpointError",
    "EncodeOptions",
    "Encoder",
    "Precision",
    "Task",
    "Usage",
    "calibrate",
    "quantize",
    "shared_encoder",
]

_LAZY = {
    "Encoder": "encoder",
    "EncodeOptions": "options",
    "Usage": "options",
    "calibrate": "precision",
    "quantize": "precision",
    "shared_encoder": "shared",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'taskvec' has no attribute {name!r}")
    value = getattr(import_module(f"taskvec.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
