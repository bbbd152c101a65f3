"""Is everything here that a run needs? Answers also where hardly anything is installed."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import __version__, bundle
from .errors import Sketch2CTError

PACKAGES = (
    *("torch", "monai", "einops", "transformers", "safetensors"),
    *("numpy", "scipy", "scikit-image", "nibabel", "typer", "rich"),
)


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
    if all(item.ok for item in found if item.name in ("torch", "transformers", "safetensors")):
        found += _devices()
        found.append(_asked("text encoder", _text_encoder))
    folders = bundle.available()
    found += [_asked(f"bundle {folder.name}", partial(_bundle, folder)) for folder in folders]
    if not folders:
        found.append(Finding("bundles", False, "none installed; use 'sketch2ct bundles install FILE'"))
    return found


def as_json(findings: list[Finding]) -> str:
    """One JSON object: `{"findings": [{"name", "ok", "detail"}, ...]}`."""
    return json.dumps({"findings": [asdict(item) for item in findings]}, ensure_ascii=False)


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, f"not installed; use 'pip install {name}'")


def _devices() -> list[Finding]:
    try:
        from .devices import describe_devices
    except (ImportError, OSError) as error:  # a damaged installation, or a library of the driver is missing
        return [Finding("devices", False, f"torch does not start: {error}")]
    return [Finding(f"device {item['name']}", True, _device(item)) for item in describe_devices()]


def _device(item: dict) -> str:
    memory = f", {item['free_mb']} of {item['total_mb']} MiB free" if item["free_mb"] is not None else ""
    return f"{item['label']}{memory}"


def _asked(name: str, question: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, question())
    except Sketch2CTError as error:
        return Finding(name, False, str(error))
    except (ImportError, OSError) as error:
        return Finding(name, False, f"{type(error).__name__}: {error}")


def _bundle(folder: Path) -> str:
    return f"{bundle.verify(folder)} files as published, in {folder}"


def _text_encoder() -> str:
    from .bundle import file_digest
    from .conditioning import text

    folder = text.locate()
    same = file_digest(folder / "model.safetensors") == text.SHA256
    return f"{text.NAME} in {folder}" + ("" if same else " (not the published weights)")
