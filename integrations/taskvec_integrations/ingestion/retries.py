"""Trying again where it helps: exponential waits with jitter, at least as long as the server asked for, for a limited time."""

import logging
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_any, stop_before_delay, stop_when_event_set
from tenacity.nap import sleep_using_event
from tenacity.wait import wait_random_exponential

from taskvec_integrations.ingestion.backend import Backend

P = ParamSpec("P")
T = TypeVar("T")

MAX_BACKOFF_SECONDS = 30.0  # between two tries where the server asks for nothing longer

log = logging.getLogger("taskvec")


def check_seconds(retry_seconds: float) -> float:
    """Check the setting `retry_seconds`: 0 (never try again) or more.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative or NaN.
    """
    if not isinstance(retry_seconds, int | float) or isinstance(retry_seconds, bool):
        raise TypeError(f"retry_seconds is {retry_seconds!r}: a number of seconds was expected")
    if not retry_seconds >= 0:
        raise ValueError(f"retry_seconds is {retry_seconds}: use 0 (never try again) or more")
    return retry_seconds


class Retries:
    """Calls a backend's methods until they succeed, fail for good or the time is up.

    Args:
        backend: Says which errors may pass, and how long the server asked to wait.
        seconds: For how long one call is tried.
        stop: Ends a wait at once when it is set. It is set here when the time was up, so that other calls do not wait as long.
        on_retry: Is called before every wait.
    """

    def __init__(self, backend: Backend, seconds: float, stop: threading.Event, on_retry: Callable[[], None]) -> None:
        self._backend = backend
        self._seconds = seconds
        self._stop = stop
        self._on_retry = on_retry
        self._backoff = wait_random_exponential(multiplier=backend.first_wait, max=MAX_BACKOFF_SECONDS)
        self._retrying = Retrying(
            retry=retry_if_exception(lambda error: self._retry_after(error) is not None),
            wait=self._wait,
            stop=stop_any(stop_before_delay(seconds), stop_when_event_set(stop)),
            sleep=sleep_using_event(stop),
            before_sleep=self._before_sleep,
            reraise=True,
        )

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `function(*args, **kwargs)`; the last error where no try succeeded."""
        try:
            return self._retrying(function, *args, **kwargs)
        except Exception as error:
            if self._retry_after(error) is not None:
                self._stop.set()
            raise

    def _retry_after(self, error: BaseException | None) -> float | None:
        return self._backend.retry_after(error) if isinstance(error, Exception) else None

    def _wait(self, state: RetryCallState) -> float:
        server_seconds = self._retry_after(state.outcome.exception()) if state.outcome else None
        return max(server_seconds or 0.0, self._backoff(state))

    def _before_sleep(self, state: RetryCallState) -> None:
        self._on_retry()
        error = state.outcome.exception() if state.outcome else None
        log.log(
            logging.WARNING if state.attempt_number == 1 else logging.INFO,
            "%s: %s; trying again in %.1f s, and for up to %g s in all",
            *(self._backend.name, describe(self._backend, error), state.upcoming_sleep, self._seconds),
        )


def describe(backend: Backend, error: BaseException | None) -> str:
    """An error in one line: its type, and what the backend reads in it."""
    reason = backend.reason(error) if isinstance(error, Exception) else str(error or "")
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
