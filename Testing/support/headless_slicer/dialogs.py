"""What would open a window and wait for the user is written down instead, and answered at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
from PySide6 import QtGui, QtWidgets

_MESSAGES = ("information", "question", "warning", "critical", "about")
_FILES = ("getOpenFileName", "getOpenFileNames", "getSaveFileName", "getExistingDirectory")
_INPUTS = ("getText", "getInt", "getDouble", "getItem", "getMultiLineText")


@dataclass(frozen=True)
class Dialog:
    """One that would have been shown. `kind`: "error", "warning", "info", "question", "dialog", "menu", "file", "input", "url"."""

    kind: str
    text: str
    detail: str = ""
    title: str = ""
    answer: Any = None


class Dialogs(list):
    """All that were shown since the start, oldest first.

    Without an answer in store a message is answered by Yes or Ok (or its only button), a file dialog by no file, a dialog
    by Cancel and a menu by nothing. `answer(value)` stores the answer of the next one: a button such as
    `qt.QMessageBox.No`, a path, or, for a `QDialog`, a function that gets the shown dialog, works with it, and accepts or
    rejects it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._answers: deque = deque()

    def answer(self, value: Any) -> None:
        self._answers.append(value)

    def texts(self, kind: str | None = None) -> list[str]:
        """What they said, of one kind or of all."""
        return [dialog.text for dialog in self if kind in (None, dialog.kind)]

    def note(self, kind: str, text: str, default: Any, detail: str = "", title: str = "") -> Any:
        """Write one down; returns its answer."""
        answer = self._answers.popleft() if self._answers else default
        self.append(Dialog(kind, str(text), detail, title.strip(), answer))
        return answer


_current = Dialogs()


def start() -> Dialogs:
    """A new, empty list that from now on takes what is shown."""
    global _current
    _current = Dialogs()
    return _current


def install() -> None:
    """Replace the functions that wait for the user; called once a process."""
    slicer.util.messageBox = _message_box
    box = QtWidgets.QMessageBox
    for name in _MESSAGES:
        setattr(box, name, staticmethod(_static_message(name)))
    box.exec = box.exec_ = _exec_message
    for name in _FILES:
        setattr(QtWidgets.QFileDialog, name, staticmethod(_static_file(name)))
    for name in _INPUTS:
        setattr(QtWidgets.QInputDialog, name, staticmethod(_static_input(name)))
    QtWidgets.QDialog.exec = QtWidgets.QDialog.exec_ = _exec_dialog
    QtWidgets.QMenu.exec = QtWidgets.QMenu.exec_ = _exec_menu
    QtGui.QDesktopServices.openUrl = staticmethod(_open_url)


def _kind(icon: Any) -> str:
    box = QtWidgets.QMessageBox
    kinds = {box.Critical: "error", box.Warning: "warning", box.Question: "question"}
    return kinds.get(icon, "info")


def _default(buttons: Any) -> Any:
    box = QtWidgets.QMessageBox
    for button in (box.Yes, box.Ok, box.Close, box.Cancel):
        if int(buttons or box.Ok) & int(button):
            return button
    return box.Ok


def _message_box(text: str, parent: Any = None, **options: Any) -> Any:
    """In place of `slicer.util.messageBox`, which `errorDisplay`, `confirmYesNoDisplay` and their kin end in."""
    return _current.note(
        _kind(options.get("icon")),
        text,
        _default(options.get("standardButtons")),
        options.get("detailedText", ""),
        options.get("windowTitle") or "",
    )


def _static_message(name: str) -> Callable:
    kind = {"critical": "error", "information": "info", "about": "info"}.get(name, name)

    def show(_parent: Any, title: str, text: str, buttons: Any = None, *_: Any) -> Any:
        return _current.note(kind, text, _default(buttons), title=title)

    return show


def _exec_message(self: Any) -> Any:
    custom = [button for button in self.buttons() if int(self.standardButton(button)) == 0]
    default = _default(self.standardButtons) if not custom else custom[0]
    answer = _current.note(_kind(self.icon), self.text, default, self.detailedText, self.windowTitle)
    self.clickedButton = lambda: answer if answer in custom else self.button(answer)
    return answer


def _static_file(name: str) -> Callable:
    default: Any = () if name == "getOpenFileNames" else ""

    def ask(_parent: Any = None, caption: str = "", *_: Any) -> Any:
        return _current.note("file", caption, default, detail=name)

    return ask


def _static_input(name: str) -> Callable:
    def ask(_parent: Any, title: str, label: str, *_: Any) -> Any:
        return _current.note("input", label, "" if "Text" in name or name == "getItem" else 0, title=title)

    return ask


def _exec_dialog(self: Any) -> int:
    answer = _current.note("dialog", self.windowTitle, 0, title=self.windowTitle)
    if not callable(answer):
        return int(answer)
    self.show()
    answer(self)
    self.hide()
    return self.result()


def _exec_menu(self: Any, *_: Any) -> Any:
    return _current.note("menu", self.title, None)


def _open_url(url: Any) -> bool:
    return bool(_current.note("url", url.toString() if hasattr(url, "toString") else url, True))
