"""One object for each key in a process, made when it is first asked for and shared by all who ask. Knows nothing of encoders."""

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary


class Shareable(Protocol):
    """An object with a count of holders, which can be closed."""

    def hold(self) -> bool:
        """Count one more holder; False if the last one has closed it."""


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Shareable)


class Registry(Generic[K, V]):
    """Objects by key, as long as somebody holds them. Thread-safe; different keys are made at the same time."""

    def __init__(self) -> None:
        self._objects: WeakValueDictionary[K, V] = WeakValueDictionary()
        self._making: defaultdict[K, threading.Lock] = defaultdict(threading.Lock)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the object of a key and count one more holder of it.

        Args:
            key: Equal keys share an object.
            make: Makes the object if there is none or it is closed; called by one thread at a time for each key.
        """
        with self._making[key]:
            found = self._objects.get(key)
            if found is None or not found.hold():
                found = self._objects[key] = make()
            return found
