"""What the errors of gRPC mean, whichever database answers: whether waiting helps, whether what was sent was at fault."""

import grpc

BUSY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}
REFUSED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}
TOO_LARGE = "larger than max"  # gRPC has the same code for a message that is too large and for a server that is too busy


def is_busy(code: object, details: str | None) -> bool:
    """Whether a code, with the server's details beside it, means that the server is busy."""
    return code in BUSY and TOO_LARGE not in (details or "")


def retry_after(error: grpc.RpcError) -> float | None:
    """None where trying again will not help, else 0: gRPC does not say how long to wait."""
    return 0.0 if is_busy(error.code(), error.details()) else None


def refused(error: grpc.RpcError) -> bool:
    """Whether the server found something wrong with what was sent."""
    return error.code() in REFUSED or TOO_LARGE in (error.details() or "")


def reason(error: grpc.RpcError) -> str:
    """The code and what the server said, in one line."""
    return f"{error.code().name}: {error.details()}"
