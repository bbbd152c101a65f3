"""The keys of a review."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

_REPEATED = ("N", "P")  # a key that is held down goes through cases, but gives no verdict twice


class CohortKeys:
    """Keys that act while `enabled`; a letter or digit that is typed into a text field stays text there.

    Letters that Slicer's slice views use (R resets a view, F and B go through slices, G, T and V show and hide) are not among them;
    up and down arrows are the table's own, so that they go on moving slices in a slice view. Enter acts in the views and in
    `table` alone: text fields elsewhere want it.
    """

    def __init__(self, actions: dict[str, Callable[[], None]], enter: Callable[[], None], table: Any) -> None:
        self._shortcuts: list[Any] = []
        window = slicer.util.mainWindow()
        if window is None:
            return
        for key, action in actions.items():
            self._add(window, key, action, qt.Qt.WindowShortcut)
        for parent in (table, slicer.app.layoutManager().viewport()):
            for key in ("Return", "Enter"):
                self._add(parent, key, enter, qt.Qt.WidgetWithChildrenShortcut)

    @property
    def enabled(self) -> bool:
        """Whether the keys act."""
        return any(shortcut.enabled for shortcut in self._shortcuts)

    @enabled.setter
    def enabled(self, on: bool) -> None:
        for shortcut in self._shortcuts:
            shortcut.enabled = on

    def close(self) -> None:
        """Give the keys back."""
        for shortcut in self._shortcuts:
            shortcut.enabled = False
            shortcut.setParent(None)
        self._shortcuts = []

    def _add(self, parent: Any, key: str, action: Callable[[], None], context: Any) -> None:
        shortcut = qt.QShortcut(parent)
        shortcut.setKey(qt.QKeySequence(key))
        shortcut.setContext(context)
        shortcut.autoRepeat = key in _REPEATED
        shortcut.enabled = False
        shortcut.connect("activated()", action)
        self._shortcuts.append(shortcut)
