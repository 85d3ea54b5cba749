"""What the errors of a Milvus client mean: whether waiting helps, whether the rows were at fault.

Codes are those of https://github.com/milvus-io/milvus/blob/master/pkg/util/merr/errors.go.
"""

import grpc
from pymilvus import MilvusException
from pymilvus.exceptions import DataNotMatchException, ParamError

from taskvec_integrations.ingestion import grpc_errors

# Unavailable, too many requests, rate limit, too few resources, collection recovering, timeout.
BUSY_CODES = {2, 4, 8, 12, 106, 10001}
NOT_READY_CODE = 1  # also what pymilvus gives to everything it did not expect
# Invalid, missing and too large parameters, bad insert data; 6 is milvus-lite's for all of these.
REFUSED_CODES = {6, 1100, 1101, 1102, 1804}


def retry_after(error: Exception) -> float | None:
    """None where trying again will not help, else 0: Milvus never says how long to wait."""
    if isinstance(error, MilvusException):
        code, message = _code(error), error.message
        busy = code in BUSY_CODES or (code == NOT_READY_CODE and "not ready" in message) or grpc_errors.is_busy(code, message)
        return 0.0 if busy else None
    if isinstance(error, grpc.RpcError):
        return grpc_errors.retry_after(error)
    return None


def refused(error: Exception) -> bool:
    """Whether the server (or pymilvus, before sending) found something wrong with the rows themselves."""
    if isinstance(error, MilvusException):
        return isinstance(error, ParamError | DataNotMatchException) or _code(error) in REFUSED_CODES
    if isinstance(error, grpc.RpcError):
        return grpc_errors.refused(error)
    return isinstance(error, ValueError | TypeError)


def reason(error: Exception) -> str:
    """What the server said, in one line."""
    if isinstance(error, MilvusException):
        return f"{_code(error)}: {error.message}"
    if isinstance(error, grpc.RpcError):
        return grpc_errors.reason(error)
    return str(error) or type(error).__name__


def _code(error: MilvusException) -> object:
    """Milvus's number, or gRPC's code where pymilvus gave up trying (2.6.0 keeps the method that returns it)."""
    return error.code() if callable(error.code) else error.code
