"""The one exception for which there is no fitting built-in; all others are built-ins with the values and the fix."""


class CheckpointError(ValueError):
    """A checkpoint has a missing, left-over or unexpected part; the message names the file and the part."""
