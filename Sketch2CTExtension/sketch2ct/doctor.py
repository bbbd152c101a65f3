"""Is everything here that a run needs? One finding a line."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import __version__, bundle
from .errors import Sketch2CTError

PACKAGES = ("torch", "monai", "transformers", "safetensors", "numpy", "scipy", "scikit-image", "nibabel")


@dataclass(frozen=True)
class Finding:
    """One thing looked at: its name, whether it is fit for use, and what was found."""

    name: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Python, packages, devices, bundles and text encoder, in this order."""
    good = (3, 10) <= sys.version_info[:2] <= (3, 13)
    found = [Finding("sketch2ct", True, __version__), Finding("python", good, platform.python_version())]
    found += [_package(name) for name in PACKAGES]
    if next(item for item in found if item.name == "torch").ok:
        found += _devices()
        found.append(_asked("text encoder", _text_encoder))
    folders = bundle.available()
    found += [_asked(f"bundle {folder.name}", partial(_bundle, folder)) for folder in folders]
    if not folders:
        found.append(Finding("bundles", False, "none installed; use 'sketch2ct bundles install FILE'"))
    return found


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, f"not installed; use 'pip install {name}'")


def _devices() -> list[Finding]:
    from .devices import describe_devices

    return [Finding(f"device {item['name']}", True, _device(item)) for item in describe_devices()]


def _device(item: dict) -> str:
    memory = f", {item['free_mb']} of {item['total_mb']} MiB free" if item["free_mb"] is not None else ""
    return f"{item['label']}{memory}"


def _asked(name: str, question: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, question())
    except Sketch2CTError as error:
        return Finding(name, False, str(error))


def _bundle(folder: Path) -> str:
    return f"{bundle.verify(folder)} files as published, in {folder}"


def _text_encoder() -> str:
    from .bundle import file_digest
    from .conditioning import text

    folder = text.locate()
    same = file_digest(folder / "model.safetensors") == text.SHA256
    return f"{text.NAME} in {folder}" + ("" if same else " (not the published weights)")
