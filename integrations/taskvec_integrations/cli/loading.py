"""Loading the model of a command, with a line on stderr that says which, where and how fast."""

import time

from taskvec import Encoder
from taskvec_integrations.cli.console import err, say
from taskvec_integrations.lazy_encoder import LazyEncoder


def load(lazy: LazyEncoder) -> Encoder:
    """The encoder; a download that failed names the model that needs none."""
    start = time.perf_counter()
    try:
        with err.status(f"loading {lazy.name}"):
            encoder = lazy.get()
    except ConnectionError as error:
        raise ConnectionError(f"{error} (the small English model needs no download: --model mini)") from None
    dtype = str(encoder.dtype).removeprefix("torch.")
    say(f"{encoder.model_id} on {encoder.device} ({dtype}), loaded in {time.perf_counter() - start:.1f} s")
    return encoder
