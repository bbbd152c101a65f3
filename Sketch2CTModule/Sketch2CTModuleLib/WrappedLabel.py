"""A label of several lines that always has room for its text."""

from __future__ import annotations

from typing import Any


class WrappedLabel:
    """Shows text in `label`, which wraps its lines. Layouts around it know only its least height, so that follows the text."""

    def __init__(self, label: Any) -> None:
        self._label = label
        self._least = label.minimumHeight

    def show(self, text: str) -> None:
        """Show `text` (plain or rich), and ask for the height that it takes at the width that the label has."""
        self._label.text = text
        self._label.minimumHeight = self._least  # or it would count as needed
        self._label.minimumHeight = max(self._least, self._label.heightForWidth(self._label.width))
