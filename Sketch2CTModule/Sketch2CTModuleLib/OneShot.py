"""A timer that fires once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt


class OneShot:
    """Calls `action` once, some time after each `start`; a start while it waits begins the time anew."""

    def __init__(self, action: Callable[[], Any], milliseconds: int = 0) -> None:
        self._action, self._timer = action, qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(milliseconds)
        self._timer.connect("timeout()", self._fire)
        self.waiting = False

    def start(self, milliseconds: int | None = None) -> None:
        """Wait `milliseconds`, by default as long as the last time, then call the action."""
        if milliseconds is not None:
            self._timer.setInterval(milliseconds)
        self.waiting = True
        self._timer.start()

    def startUnlessWaiting(self) -> None:
        """Start, but leave a running wait as it is."""
        if not self.waiting:
            self.start()

    def stop(self) -> None:
        """Do not call the action after all."""
        self.waiting = False
        self._timer.stop()

    def _fire(self) -> None:
        if self.waiting:  # a time-out may have been on its way when it was stopped
            self.waiting = False
            self._action()
