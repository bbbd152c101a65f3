"""The row that shows how far a job is: a bar with words in it, a button to cancel, and a line of text below."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import slicer
from slicer.i18n import tr as _

from .BackendError import BackendError
from .WrappedLabel import WrappedLabel

_THOUSAND = 1000
_UNEXPECTED = ("crashed", "not_started", "out_of_memory")  # the user may be in another module by then
_LOG = 20_000  # characters of a log in a dialog


class CohortProgress:
    """`row` is hidden until a job begins; `cancel()` is called by the button."""

    def __init__(self, row: Any, bar: Any, button: Any, label: Any, cancel: Callable[[], None]) -> None:
        self._row, self._bar, self._button, self._label = row, bar, button, WrappedLabel(label)
        self._below = ""
        self._cancel = cancel
        button.connect("clicked()", self._onCancel)

    def begin(self, text: str) -> None:
        """A job begins."""
        self._row.visible = self._bar.visible = self._button.visible = True
        self._button.enabled, self._button.text = True, _("Cancel")
        self.show(0.0, text)
        self._tell("")

    def show(self, fraction: float, text: str, below: str = "") -> None:
        """`fraction` 0 to 1, `text` in the bar, `below` (rich text) under it."""
        self._bar.value = round(_THOUSAND * min(max(fraction, 0.0), 1.0))
        self._bar.format = text.replace("%", "%%")
        if below != self._below:
            self._tell(below)

    def end(self, text: str) -> None:
        """The job is over; `text` (rich) says what came of it."""
        self._row.visible = True
        self._bar.visible = self._button.visible = False
        self._tell(text)

    def tellError(self, error: BackendError, title: str) -> None:
        """What went wrong, in place of what came of it; in a dialog, too, where a log may say more."""
        self.end(errorText(error))
        if error.code in _UNEXPECTED:
            text = f"{error.message}\n\n{error.hint}".strip()
            slicer.util.errorDisplay(text, windowTitle=title, detailedText=error.details[-_LOG:])

    def _tell(self, text: str) -> None:
        self._below = text
        self._label.show(text)

    def _onCancel(self) -> None:
        self._button.enabled, self._button.text = False, _("Cancelling...")
        self._cancel()


def errorText(error: Any) -> str:
    """An error as a label shows it."""
    return f"<b>{escape(error.message)}</b> {escape(error.hint)}".strip()
