"""What an integration needs of taskvec beside the public names of `taskvec`: the one other module of core that adapters import.

Everything else in core may change between releases. tests/test_architecture.py holds integrations to this module and names the
two exceptions: `taskvec doctor`, which looks inside, and the server's scheduler, which packs the texts of many calls.
"""

from taskvec.blocks import blocks, map_ahead
from taskvec.devices import choose_device
from taskvec.inputs import check_text
from taskvec.late_chunking import Span, check_spans, join_chunks
from taskvec.loading import LoadSettings
from taskvec.names import DEFAULT_MODEL, JINA_MODELS, MINI
from taskvec.options import check_flag, check_whole
from taskvec.pooling import Vectors, cut_dimensions
from taskvec.precision import scaled_int8
from taskvec.names import PRECISIONS
from taskvec.progress import Progress, check_progress, reporting
from taskvec.tasks import DOCUMENT_TASK, QUERY_TASK
from taskvec.threads import raise_if_stopped, run_in_thread

__all__ = [
    "DEFAULT_MODEL",
    "DOCUMENT_TASK",
    "JINA_MODELS",
    "MINI",
    "PRECISIONS",
    "QUERY_TASK",
    "LoadSettings",
    "Progress",
    "Span",
    "Vectors",
    "blocks",
    "check_flag",
    "check_progress",
    "check_spans",
    "check_text",
    "check_whole",
    "choose_device",
    "cut_dimensions",
    "join_chunks",
    "map_ahead",
    "raise_if_stopped",
    "reporting",
    "run_in_thread",
    "scaled_int8",
]
