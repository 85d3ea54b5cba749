"""What the errors of Pinecone's SDK mean, versions 7 to 10: whether waiting helps, whether the records were at fault."""

from pinecone.exceptions import PineconeApiException

try:
    from pinecone import PineconeConnectionError as BrokenConnection
except ImportError:  # versions 7 and 8 let through what urllib3 raises
    from urllib3.exceptions import HTTPError as BrokenConnection  # type: ignore[assignment]

BUSY = {408, 429, 500, 502, 503, 504}
REFUSED = {400, 413, 422}


class IncompleteUpsertError(Exception):
    """The server took fewer records than it was sent, and did not say which."""


def retry_after(error: Exception) -> float | None:
    """None where trying again will not help, else the seconds the server asked to wait, or 0."""
    if isinstance(error, PineconeApiException):
        return _seconds(error) if status(error) in BUSY else None
    return 0.0 if isinstance(error, BrokenConnection | TimeoutError | IncompleteUpsertError) else None


def refused(error: Exception) -> bool:
    """Whether the server (or the SDK, before sending) found something wrong with the records themselves."""
    if isinstance(error, PineconeApiException):
        return status(error) in REFUSED
    return isinstance(error, ValueError | TypeError)


def reason(error: Exception) -> str:
    """What the server said, in one line."""
    if isinstance(error, PineconeApiException):
        return f"{status(error)}: {getattr(error, 'message', None) or error.body}"
    return str(error) or type(error).__name__


def status(error: PineconeApiException) -> int | None:
    """The HTTP status, by the name that this version of the SDK has for it."""
    code: int | None = getattr(error, "status_code", None) or getattr(error, "status", None)
    return code


def _seconds(error: PineconeApiException) -> float:
    headers = {name.lower(): value for name, value in dict(error.headers or {}).items()}
    value = headers.get("retry-after", "0")
    return float(value) if value.isdigit() else 0.0  # it may be a date, which the backoff does as well without
