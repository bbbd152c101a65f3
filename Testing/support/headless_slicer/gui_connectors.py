"""Which widget shows which type of parameter, as in Slicer: by the widget's exact class, and nothing else is accepted.

So a QPlainTextEdit, a ctkComboBox, a checkable QToolButton or a ctkSliderWidget of whole numbers is refused here, since
Slicer's own connectors refuse them: code connects such a widget by hand.
"""

from __future__ import annotations

import enum
import logging
import pathlib
from collections.abc import Callable
from typing import Any

from .validators import Choice, Decimals, Maximum, Minimum, SingleStep, WithinRange

_TEXT = (str, int, float, bool)
_PATHS = (pathlib.Path, pathlib.PurePath)


class Connector:
    """Reads and writes one widget, and tells when the user changed it."""

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], None], changed: Any) -> None:
        self.read, self.write = read, write
        self._changed, self._callback = changed, None

    def start(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._changed.connect(self._on_changed)

    def stop(self) -> None:
        self._callback = None
        self._changed.disconnect(self._on_changed)

    def _on_changed(self, *_: Any) -> None:
        if self._callback is not None:
            self._callback()


def connect_widget(widget: Any, parameter: Any) -> Connector:
    """Raises RuntimeError where Slicer does."""
    makers = {
        "QCheckBox": _check_box,
        "QPushButton": _push_button,
        "QSlider": _whole_number,
        "QSpinBox": _whole_number,
        "QDoubleSpinBox": _number,
        "ctkSliderWidget": _number,
        "QComboBox": _combo_box,
        "QLineEdit": _line,
        "QTextEdit": _text,
        "ctkPathLineEdit": _path,
        "ctkDirectoryButton": _directory,
        "qMRMLNodeComboBox": _node,
    }
    maker = makers.get(type(widget).__name__)
    connector = maker(widget, parameter) if maker else None
    if connector is None:
        raise RuntimeError(f"No connector of {parameter.hint} ({parameter.name}) to a {type(widget).__name__}")
    return connector


def _same(value: Any) -> Any:
    return value


def _on_property(widget: Any, name: str, changed: str, take: Callable = _same, put: Callable = _same) -> Connector:
    return Connector(lambda: take(getattr(widget, name)), lambda value: setattr(widget, name, put(value)), getattr(widget, changed))


def _check_box(widget: Any, parameter: Any) -> Connector | None:
    return _on_property(widget, "checked", "stateChanged") if parameter.kind is bool else None


def _push_button(widget: Any, parameter: Any) -> Connector | None:
    if parameter.kind is not bool:
        return None
    if not widget.checkable:
        logging.warning("Button %s made checkable for parameter %s", widget.objectName, parameter.name)
        widget.checkable = True
    return _on_property(widget, "checked", "toggled")


def _whole_number(widget: Any, parameter: Any) -> Connector | None:
    if parameter.kind is not int:
        return None
    _limit(widget, parameter, -(2**31), 2**31 - 1)
    return _on_property(widget, "value", "valueChanged")


def _number(widget: Any, parameter: Any) -> Connector | None:
    if parameter.kind is not float:
        return None
    _limit(widget, parameter, float("-inf"), float("inf"))
    return _on_property(widget, "value", "valueChanged")


def _limit(widget: Any, parameter: Any, lowest: float, highest: float) -> None:
    found = {type(validator): validator for validator in parameter.validators}
    _, annotations = _split(parameter.hint)
    for annotation in annotations:
        if isinstance(annotation, Decimals):
            widget.decimals = annotation.value
        if isinstance(annotation, SingleStep):
            widget.singleStep = annotation.value
    bounds = found.get(WithinRange)
    low = bounds or found.get(Minimum)
    high = bounds or found.get(Maximum)
    if type(widget).__name__ in ("QSlider", "ctkSliderWidget") and not (low and high):
        raise RuntimeError(f"A slider needs the bounds of {parameter.name}")
    widget.minimum = low.minimum if low else lowest
    widget.maximum = high.maximum if high else highest


def _split(hint: Any) -> tuple[Any, tuple]:
    return (hint.__origin__, hint.__metadata__) if hasattr(hint, "__metadata__") else (hint, ())


def _combo_box(widget: Any, parameter: Any) -> Connector | None:
    """Replaces the box's items by the choices."""
    if isinstance(parameter.kind, type) and issubclass(parameter.kind, enum.Enum):
        values = list(parameter.kind)
        label = getattr(parameter.kind, "label", lambda value: value.name)
        labels = [label(value) for value in values]
    elif parameter.kind in _TEXT:
        choices = [validator for validator in parameter.validators if isinstance(validator, Choice)]
        if not choices:
            raise RuntimeError(f"A QComboBox needs a Choice annotation on {parameter.name}")
        values = choices[0].choices
        labels = [str(value) for value in values]
    else:
        return None
    widget.clear()
    widget.addItems(labels)
    return _on_property(widget, "currentIndex", "currentIndexChanged", values.__getitem__, values.index)


def _line(widget: Any, parameter: Any) -> Connector | None:
    return _on_property(widget, "text", "textChanged") if parameter.kind is str else None


def _text(widget: Any, parameter: Any) -> Connector | None:
    return Connector(widget.toPlainText, widget.setPlainText, widget.textChanged) if parameter.kind is str else None


def _path(widget: Any, parameter: Any) -> Connector | None:
    return _on_property(widget, "currentPath", "currentPathChanged", parameter.kind, str) if parameter.kind in _PATHS else None


def _directory(widget: Any, parameter: Any) -> Connector | None:
    return _on_property(widget, "directory", "directoryChanged", parameter.kind, str) if parameter.kind in _PATHS else None


def _node(widget: Any, parameter: Any) -> Connector | None:
    if not parameter.nodes:
        return None
    widget.nodeTypes = [kind.__name__ for kind in parameter.nodes]
    return Connector(widget.currentNode, widget.setCurrentNode, widget.currentNodeChanged)
