"""Slicer's own MRML, logic and view classes (package `slicer-core`) without the desktop, for tests.

`bootstrap(folder)` makes a scene and fills the globals that module code expects: `slicer.mrmlScene`, `slicer.app`,
`slicer.modules`. With `qt=True` there are also the modules `qt` and `ctk`, `slicer.i18n`, `slicer.ScriptedLoadableModule`,
`slicer.parameterNodeWrapper` and the qMRML widgets; `desktop.Desktop(app)` then opens a main window with views.

Real: nodes, storage, logics, `slicer.util`, displayable managers and interactor styles of the views, Qt (PySide6) with
its widgets, events, processes, timers and settings.

Stand-ins, written from the behaviour of the desktop: the application object, the choice of a file's reader, what Qt
plugins do (subject hierarchy items), the PythonQt binding (`pythonqt`), CTK and qMRML widgets, the layout manager and the
main window, scripted module classes and the parameter node wrapper. Message boxes and other dialogs never wait: they are
written down (`dialogs`).

What a green run does not show: PythonQt and CTK themselves, looks on a real screen, Qt 5, high-resolution screens, effects
of the Segment Editor, the Extension Manager.
"""

import os

# Read when PySide6 is imported for the first time, by whichever file comes first: enumerators that are integers, no display.
os.environ.setdefault("PYSIDE6_OPTION_PYTHON_ENUM", "0x02")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from .bootstrap import HeadlessSlicer, bootstrap

__all__ = ["HeadlessSlicer", "bootstrap"]
