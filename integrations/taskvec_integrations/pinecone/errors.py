"""What the errors of Pinecone's SDK mean: whether waiting helps, and whether the records were at fault."""

from pinecone import ApiError, PineconeConnectionError

BUSY = {408, 429, 500, 502, 503, 504}
REFUSED = {400, 413, 422}


class IncompleteUpsertError(Exception):
    """The server took fewer records than it was sent, and did not say which."""


def retry_after(error: Exception) -> float | None:
    """None where trying again will not help, else the seconds that the server asked to wait, or 0."""
    if isinstance(error, ApiError):
        return _retry_after_seconds(error) if error.status_code in BUSY else None
    return 0.0 if isinstance(error, PineconeConnectionError | TimeoutError | IncompleteUpsertError) else None


def refused(error: Exception) -> bool:
    """Whether the server (or the SDK, before sending) found something wrong with the records themselves."""
    if isinstance(error, ApiError):
        return error.status_code in REFUSED
    return isinstance(error, ValueError | TypeError)


def reason(error: Exception) -> str:
    """The server's message in one line."""
    if isinstance(error, ApiError):
        return f"{error.status_code}: {error.message or error.body}"
    return str(error) or type(error).__name__


def _retry_after_seconds(error: ApiError) -> float:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    value = headers.get("retry-after", "0")
    return float(value) if value.isdigit() else 0.0  # the header may hold a date; the backoff waits long enough without it
