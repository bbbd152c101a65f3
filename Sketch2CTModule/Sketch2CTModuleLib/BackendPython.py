"""Which Python runs the backend, and with which environment."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
import slicer

SETTING = "Sketch2CT/python"


@dataclass(frozen=True)
class BackendPython:
    """`program`: the interpreter's path; `source`: "chosen" by the user, "Slicer" (PythonSlicer), or "this" process's own."""

    program: str
    source: str

    @classmethod
    def find(cls) -> BackendPython:
        """The user's choice, else PythonSlicer, else the interpreter of this process."""
        chosen = cls.chosen()
        if chosen:
            return cls(chosen, "chosen")
        slicers = shutil.which("PythonSlicer")
        return cls(slicers, "Slicer") if slicers else cls(sys.executable, "this")

    @staticmethod
    def chosen() -> str:
        """The interpreter that the user chose; empty if none."""
        return str(qt.QSettings().value(SETTING, "") or "")

    @staticmethod
    def choose(program: str | Path | None) -> None:
        """Remember the user's choice; None or an empty text: Slicer's own Python again."""
        # Links stay links: the python of a virtual environment is one, and must be called by its own name.
        if program:
            qt.QSettings().setValue(SETTING, str(program))
        else:
            qt.QSettings().remove(SETTING)

    def environment(self) -> Any:
        """The child's environment, a QProcessEnvironment.

        Slicer's own settings of paths are left out, since PythonSlicer makes them itself and another Python would be
        confused by them; only this process's own interpreter needs them.
        """
        environment = _startupEnvironment() if self.source != "this" else None
        if environment is None:
            environment = qt.QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUTF8", "1")
        environment.insert("PYTHONUNBUFFERED", "1")
        environment.insert("PYTHONNOUSERSITE", "1")
        environment.remove("ITK_AUTOLOAD_PATH")  # Slicer's ITK plugins do not fit another ITK
        if not environment.contains("OMP_WAIT_POLICY"):
            # Threads that wait for each other give their core to Slicer; otherwise they spin, and both get slow.
            environment.insert("OMP_WAIT_POLICY", "PASSIVE")
        return environment


def _startupEnvironment() -> Any:
    """The environment in which Slicer was started, if this application knows it."""
    start = getattr(slicer.app, "startupEnvironment", None)
    return start() if start is not None else None
