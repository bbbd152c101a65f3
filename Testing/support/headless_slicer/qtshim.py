"""The modules `qt` and `ctk` on top of PySide6. See `pythonqt` for what is imitated, `ctk_widgets` and `qmrml_*` for the stand-ins.

Real: Qt itself, so widgets, layouts, events, QProcess, QTimer, QSettings, QShortcut. Stand-in: the binding, CTK, qMRML.
`qt.Signal`, `qt.Slot` and `qt.Property` are missing on purpose: PythonQt has none that work.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
import types
import xml.etree.ElementTree as ElementTree
from typing import Any, ClassVar

from . import pythonqt
from .pythonqt import MODULES, QtCore, QtUiTools, QtWidgets

_NOT_IN_PYTHONQT = frozenset({"Signal", "Slot", "Property", "ClassInfo", "QEnum", "QFlag"})


def install() -> types.ModuleType:
    """Put `qt` and `ctk` into `sys.modules` and the qMRML stand-ins into `slicer`; returns `qt`. May be called again."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    _keep_singletons_alive()
    pythonqt.patch()
    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
    application.setOrganizationName("NA-MIC")
    application.setApplicationName("Slicer")
    application.setQuitOnLastWindowClosed(False)
    QtCore.qInstallMessageHandler(_report)
    for cls in (QtCore.QEventLoop, QtWidgets.QApplication):
        if not hasattr(cls, "exec_"):
            cls.exec_ = cls.exec
    sys.modules["qt"] = qt = _qt_module()
    sys.modules["ctk"] = ctk = types.ModuleType("ctk")
    ctk.__doc__ = "Stand-in for Slicer's module of that name."
    _add_stand_ins(ctk)
    from . import dialogs

    dialogs.install()
    return qt


def _keep_singletons_alive() -> None:
    """PySide6 6.12 takes a reference to None, True or False away with many calls. Since Python 3.12 that is without
    consequence; before, the interpreter would abort after some ten thousand calls. A large stock of references lasts."""
    if sys.version_info < (3, 12):
        for value in (None, True, False):
            ctypes.c_ssize_t.from_address(id(value)).value += 1 << 40


def _qt_module() -> types.ModuleType:
    qt = types.ModuleType("qt")
    qt.__doc__ = "Stand-in for Slicer's module of that name."
    for module in MODULES:
        for name in dir(module):
            if not name.startswith("_") and name not in _NOT_IN_PYTHONQT:
                setattr(qt, name, getattr(module, name))
    qt.QUiLoader = QUiLoader
    return qt


def _add_stand_ins(ctk: types.ModuleType) -> None:
    import slicer

    from . import ctk_widgets, qmrml_selectors, qmrml_widgets

    for module in (ctk_widgets, qmrml_selectors, qmrml_widgets):
        for name, cls in vars(module).items():
            if not inspect.isclass(cls) or not name.startswith(("ctk", "qMRML", "qSlicer")):
                continue
            setattr(ctk if name.startswith("ctk") else slicer, name, cls)
            if issubclass(cls, QtWidgets.QWidget):
                QUiLoader.stand_ins[name] = cls
    ctk.ctkWidgetsUtils = types.SimpleNamespace(grabWidget=lambda widget, *_: widget.grab().toImage())


class QUiLoader(QtUiTools.QUiLoader):
    """Knows the stand-ins, and makes the `.ui` file's connections between them, which Qt itself cannot."""

    stand_ins: ClassVar[dict[str, type]] = {}

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        for cls in self.stand_ins.values():
            self.registerCustomWidget(cls)

    def load(self, device: Any, parent: Any = None) -> Any:
        path = device.fileName() if isinstance(device, QtCore.QFile) else str(device)
        root = ElementTree.parse(path).getroot()
        unknown = {c.findtext("class") for c in root.iter("customwidget")} - set(self.stand_ins)
        if unknown:
            raise RuntimeError(f"{path}: no stand-in for {', '.join(sorted(unknown))}; add one to the harness")
        former = QtCore.qInstallMessageHandler(_report_loading)
        try:
            widget = super().load(device, parent) if parent is not None else super().load(device)
        finally:
            QtCore.qInstallMessageHandler(former)
        if widget is not None:
            _connect_stand_ins(widget, root, path)
        return widget


def _connect_stand_ins(widget: Any, root: ElementTree.Element, path: str) -> None:
    named = {child.objectName: child for child in [widget, *widget.findChildren(QtCore.QObject)]}
    for connection in root.iter("connection"):
        sender, signal, receiver, slot = (connection.findtext(tag) or "" for tag in ("sender", "signal", "receiver", "slot"))
        if sender not in named or receiver not in named:
            raise RuntimeError(f"{path}: the connection of {sender}.{signal} to {receiver}.{slot} names an unknown widget")
        source, target = named[sender], named[receiver]
        if source.metaObject().indexOfSignal(signal) < 0 or target.metaObject().indexOfSlot(slot) < 0:
            source.connect(signal, target, slot)


def _report(_kind: Any, _context: Any, message: str) -> None:
    if "propagateSizeHints" not in message:  # every window of the plugin that draws off screen
        sys.stderr.write(f"Qt: {message}\n")


def _report_loading(kind: Any, context: Any, message: str) -> None:
    if "QObject::connect:" not in message:  # Qt knows no signal of a stand-in: those are connected afterwards
        _report(kind, context, message)
