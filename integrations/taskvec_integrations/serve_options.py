"""Options of `taskvec serve` that are also settings of its server: what each one means and its default, stated once.

Light to import: the command line shows them in its help even where the packages of the server are not installed.
"""

from typing import Any, NamedTuple

DEFAULT_WAITING_BATCHES = 64
"""Full batches that may wait in the queue by default."""
MIN_DEFAULT_WAITING_TOKENS = 2**18
"""Tokens that may wait in the queue by default, however small a batch is."""


class ServeOption(NamedTuple):
    """The meaning of a setting and its default; `default_text` replaces a default that does not explain itself."""

    help: str
    default: Any
    default_text: str = ""

    @property
    def shown_default(self) -> str:
        """The default as help shows it."""
        return self.default_text or f"{self.default:g}"


SERVED_MODEL_NAMES = ServeOption("Name that clients call the model by.", (), "the model's own name and jina-embeddings-v3")
DEFAULT_TASK = ServeOption("Task of requests that name none; none is the bare model.", "text-matching", "text-matching")
RECOGNIZE_INSTRUCTIONS = ServeOption(
    "Texts that all begin with the exact instruction of a task are encoded with that task, without the instruction.", False, "off"
)
API_KEY_FILE = ServeOption("File with the keys that clients may use, one a line; or set TASKVEC_API_KEYS.", None, "no key")
MAX_INPUTS = ServeOption("Largest number of texts in one request.", 2048)
MAX_BODY_MIB = ServeOption("Largest size of a request in MiB.", 16)
MAX_BODIES_MIB = ServeOption("Largest size in MiB of the bodies of all requests together.", 256)
MAX_REQUESTS = ServeOption("Requests that the server handles at a time; more are refused with 503.", 512)
MAX_WAITING_TOKENS = ServeOption(
    "Tokens that may wait in the queue.",
    0,
    f"{DEFAULT_WAITING_BATCHES} full batches, at least {MIN_DEFAULT_WAITING_TOKENS} tokens",
)
PATIENCE = ServeOption("Seconds that a request waits for room in the queue before it is refused with 429.", 4.0)
BODY_SECONDS = ServeOption("Seconds within which the body of a request must arrive.", 30.0)
SEND_SECONDS = ServeOption("Seconds within which a client must take each part of its response.", 30.0)
