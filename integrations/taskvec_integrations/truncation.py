"""Saying that texts were cut at the model's context, for integrations whose callers get no report."""

import logging

from taskvec import Encoder, Usage

log = logging.getLogger("taskvec")


def warn_of_truncation(usage: Usage, encoder: Encoder) -> None:
    """Log a warning where texts of a call were longer than the model's context.

    Args:
        usage: What the encoder counted in this call.
        encoder: The encoder; the warning names its model and its context.
    """
    if usage.truncated:
        log.warning("%d texts were cut at %d tokens, the context of %s", usage.truncated, encoder.max_tokens, encoder.model_id)
