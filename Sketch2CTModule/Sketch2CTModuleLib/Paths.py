"""Where the extension's own files lie: from source one level above the module's folder, installed beside the module."""

from __future__ import annotations

import sys
from pathlib import Path

_BACKEND = "Sketch2CTExtension"
_SCRIPT = "sketch2ct_backend.py"


def moduleFolder() -> Path:
    """The folder of `Sketch2CTModule.py`."""
    return Path(__file__).resolve().parent.parent


def resourcesFolder() -> Path:
    """`Resources`: UI, icons, bundles, samples, anatomy. Raises FileNotFoundError."""
    return _find("Resources", "Anatomy")


def backendFolder() -> Path:
    """The folder to put on a Python path to import `sketch2ct`. Raises FileNotFoundError."""
    return _find(_BACKEND, _SCRIPT)


def backendScript() -> Path:
    """The file that starts the backend in another process. Raises FileNotFoundError."""
    return backendFolder() / _SCRIPT


def addBackendToPath() -> None:
    """Make `import sketch2ct` work in this process; behind everything else, so that nothing is shadowed."""
    folder = str(backendFolder())
    if folder not in sys.path:
        sys.path.append(folder)


def _find(name: str, content: str) -> Path:
    for parent in (moduleFolder(), moduleFolder().parent):
        if (parent / name / content).exists():
            return parent / name
    raise FileNotFoundError(f"The extension is incomplete: there is no folder {name} beside {moduleFolder()}. Install the extension again.")
