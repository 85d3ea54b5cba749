"""What the errors of a Qdrant client mean, over HTTP and gRPC: whether waiting helps, whether the points were at fault."""

import grpc
import httpx
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from taskvec_integrations.ingestion import grpc_errors

BUSY_STATUSES = {408, 429, 502, 503, 504}
REFUSED_STATUSES = {400, 413, 422}


def retry_after(error: Exception) -> float | None:
    """None where trying again will not help, else the seconds the server asked to wait, or 0."""
    if isinstance(error, ResponseHandlingException):
        return 0.0 if isinstance(error.source, httpx.TransportError) else None
    if isinstance(error, UnexpectedResponse):
        return _seconds(error.headers) if error.status_code in BUSY_STATUSES else None
    if isinstance(error, grpc.RpcError):
        return grpc_errors.retry_after(error)
    seconds = getattr(error, "retry_after_s", None)  # qdrant_client's ResourceExhaustedResponse, which older versions lack
    return None if seconds is None else float(seconds)


def refused(error: Exception) -> bool:
    """Whether the server (or the client, before sending) found something wrong with the points themselves."""
    if isinstance(error, UnexpectedResponse):
        return error.status_code in REFUSED_STATUSES
    if isinstance(error, grpc.RpcError):
        return grpc_errors.refused(error)
    return isinstance(error, ValueError | TypeError)


def reason(error: Exception) -> str:
    """What the server said, in one line."""
    if isinstance(error, UnexpectedResponse):
        try:
            message = error.structured()["status"]["error"]
        except (ValueError, KeyError, TypeError):  # a proxy answered, not Qdrant
            message = error.content.decode(errors="replace")
        return f"{error.status_code} ({error.reason_phrase}): {message}"
    if isinstance(error, grpc.RpcError):
        return grpc_errors.reason(error)
    return str(error) or type(error).__name__


def _seconds(headers: httpx.Headers) -> float:
    value = headers.get("retry-after", "0")
    return float(value) if value.isdigit() else 0.0  # it may be a date, which the backoff does as well without
