"""The one exception that has no fitting built-in; everything else is a built-in with the values and the fix."""


class CheckpointError(ValueError):
    """A checkpoint has a missing, left-over or unexpected part; the message names the file and the part."""
