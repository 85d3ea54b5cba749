"""Loading the model of a command, with a line on stderr that says which model, on which device and how fast."""

import time

from taskvec import Encoder
from taskvec_integrations.cli.console import print_line, stderr
from taskvec_integrations.lazy_encoder import LazyEncoder


def load_model(lazy: LazyEncoder) -> Encoder:
    """Load the encoder and say so on stderr.

    Raises:
        ConnectionError: The download failed; the message names the model that needs none.
    """
    start = time.perf_counter()
    try:
        with stderr.status(f"loading {lazy.name}"):
            encoder = lazy.get()
    except ConnectionError as error:
        raise ConnectionError(f"{error} (the small English model needs no download: --model mini)") from None
    dtype = str(encoder.dtype).removeprefix("torch.")
    print_line(f"{encoder.model_id} on {encoder.device} ({dtype}), loaded in {time.perf_counter() - start:.1f} s")
    return encoder
