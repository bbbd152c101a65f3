"""A combo box whose items show one text and stand for another value of the parameter node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class ComboBinding:
    """Keeps a combo box and one parameter equal.

    A value that is not among the choices (a scene from another machine) is added to them, so that nothing is lost silently.
    """

    def __init__(self, combo: Any, name: str, choices: Sequence[tuple[str, str]], chosen: Callable[[], None] | None = None) -> None:
        self._combo, self._name, self._chosen = combo, name, chosen
        self._parameters: Any = None
        self.setChoices(choices)
        combo.connect("currentIndexChanged(int)", self._onIndex)

    def setChoices(self, choices: Sequence[tuple[str, str]]) -> None:
        """Offer other (text, value) pairs; the parameter stays as it is."""
        blocked = self._combo.blockSignals(True)
        self._combo.clear()
        for text, value in choices:
            self._combo.addItem(text, value)
        self._combo.blockSignals(blocked)
        self.update()

    def setParameters(self, parameters: Any) -> None:
        """Bind to another parameter node, or to None."""
        self._parameters = parameters
        self.update()

    def update(self) -> None:
        """Show the parameter's value."""
        if self._parameters is None:
            return
        value = getattr(self._parameters, self._name)
        blocked = self._combo.blockSignals(True)
        index = self._combo.findData(value)
        if index < 0:
            self._combo.addItem(value, value)
            index = self._combo.findData(value)
        self._combo.setCurrentIndex(index)
        self._combo.blockSignals(blocked)

    def _onIndex(self, index: int) -> None:
        if self._parameters is None or index < 0:
            return
        setattr(self._parameters, self._name, self._combo.itemData(index))
        if self._chosen is not None:
            self._chosen()
