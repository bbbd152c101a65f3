"""A signal for objects that are no QObject; Qt's own cannot be declared in PythonQt."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any


class Signal:
    """Calls its listeners, in the order in which they came, in the thread that emits.

    A listener that raises is logged, and the others are called all the same. Listeners may connect and disconnect
    while the signal is emitted: one that left is not called any more, one that came is called from the next time on.
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[..., Any]] = []

    def connect(self, listener: Callable[..., Any]) -> None:
        """Call `listener` with what is emitted; a listener that is connected already is not added again."""
        if listener not in self._listeners:
            self._listeners.append(listener)

    def disconnect(self, listener: Callable[..., Any]) -> None:
        """Call `listener` no more; nothing happens if it was not connected."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def disconnectAll(self) -> None:
        """Forget every listener."""
        self._listeners.clear()

    def emit(self, *values: Any) -> None:
        """Call every listener with `values`."""
        for listener in tuple(self._listeners):
            if listener not in self._listeners:
                continue
            try:
                listener(*values)
            except Exception:
                logging.exception("A listener of a signal failed")
