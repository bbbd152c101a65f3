"""What a Python interpreter has installed. Run as a file by that interpreter, it prints the facts as JSON:

    PYTHON PythonFacts.py NAME ...        facts, and the versions of the distributions NAME

Standard library only, since the interpreter may have nothing else.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

SCRIPT = Path(__file__).resolve()


@dataclass(frozen=True)
class PythonFacts:
    """One interpreter, as it was when it was asked."""

    executable: str
    prefix: str
    version: str
    platform: str  # as in the names of wheels: linux-x86_64, win-amd64, macosx-11.0-arm64
    folder: str  # where pip puts packages
    writable: bool
    freeBytes: int  # on the disk of `folder`
    nvidia: bool  # an NVIDIA driver is installed
    installed: dict[str, str | None]  # distribution -> version; None: not installed
    importable: dict[str, bool]  # the same names, taken as modules

    @property
    def name(self) -> str:
        """For the user: "Python 3.12.10 on linux-x86_64"."""
        return f"Python {self.version} on {self.platform}"

    @classmethod
    def fromJson(cls, text: str) -> PythonFacts:
        """Read what `PYTHON PythonFacts.py` printed. Raises ValueError when it is something else."""
        values = json.loads(text)
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(cls)}:
            raise ValueError("These are no facts about a Python.")
        return cls(**values)

    @classmethod
    def ofThisPython(cls, names: list[str]) -> PythonFacts:
        """Look at the running interpreter and at the distributions `names`."""
        folder = sysconfig.get_path("purelib")
        present = folder
        while not os.path.isdir(present) and os.path.dirname(present) != present:
            present = os.path.dirname(present)
        return cls(
            executable=sys.executable,
            prefix=sys.prefix,
            version=platform.python_version(),
            platform=sysconfig.get_platform(),
            folder=folder,
            writable=os.access(present, os.W_OK),
            freeBytes=shutil.disk_usage(present).free,
            nvidia=shutil.which("nvidia-smi") is not None or os.path.exists("/proc/driver/nvidia/version"),
            installed={name: _version(name) for name in names},
            importable={name: _importable(name) for name in names},
        )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _importable(name: str) -> bool:
    try:
        return find_spec(name.replace("-", "_")) is not None
    except (ImportError, ValueError):  # half an installation
        return False


if __name__ == "__main__":
    sys.path.pop(0)  # this file's folder: its neighbours are no packages
    print(json.dumps(asdict(PythonFacts.ofThisPython(sys.argv[1:]))))
