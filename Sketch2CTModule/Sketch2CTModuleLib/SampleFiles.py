"""One sample's folder on disk, read and checked as a whole before anything of it enters the scene."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sketch2ct.anatomy import resolve
from sketch2ct.errors import BadRequest
from sketch2ct.provenance import MANIFEST, attributes, read_json
from sketch2ct.request import NONE, GenerationRequest

from .NiftiImage import NiftiImage

_HINT = "Generate the result again."


@dataclass(frozen=True)
class SampleFiles:
    """What a sample's files hold. `ct` is None when the mask alone was asked for; `names` are value -> structure; `window` is the window
    and level (HU) that the description asked for, if it did."""

    folder: Path
    request: GenerationRequest
    manifest: dict[str, Any]
    attributes: dict[str, str]
    names: dict[int, str]
    labels: NiftiImage
    ct: NiftiImage | None
    window: tuple[float, float] | None = None

    @classmethod
    def read(cls, folder: Path) -> SampleFiles:
        """Everything in the folder. Raises BadRequest, which names the file that is missing, damaged or does not fit."""
        folder = Path(folder)
        manifest = _manifest(folder)
        request = GenerationRequest.read(folder / "request.json")
        labels = NiftiImage.read(folder / "labels.nii.gz")
        names = _names(folder, labels)
        ct = None if request.volume_generator == NONE else NiftiImage.read(folder / "ct.nii.gz")
        if ct is not None and not ct.grid.matches(labels.grid):
            raise BadRequest(f"The CT {folder / 'ct.nii.gz'} and the labels beside it are not on the same grid.", _HINT)
        if request.grid is not None and not labels.grid.matches(request.grid):
            raise BadRequest(f"{folder / 'labels.nii.gz'} is not on the grid that was asked for.", _HINT)
        return cls(folder, request, manifest, attributes(folder, request), names, labels, ct, _window(folder, manifest))


def _manifest(folder: Path) -> dict[str, Any]:
    path, request = folder / MANIFEST, folder / "request.json"
    manifest = read_json(path)
    if manifest.get("synthetic") is not True:
        raise BadRequest(f"{path} does not say that the images are synthetic.", "This is no result of Sketch2CT.")
    stated = manifest.get("request_sha256")
    if stated is not None and request.is_file() and hashlib.sha256(request.read_bytes()).hexdigest() != stated:
        raise BadRequest(f"{request} is not the request that this result was made from.", _HINT)
    return manifest


def _window(folder: Path, manifest: dict[str, Any]) -> tuple[float, float] | None:
    try:
        asked = manifest.get("quality", {}).get("display")
        return None if asked is None else (float(asked["width"]), float(asked["level"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadRequest(f"{folder / MANIFEST} tells no usable display window: {error!r}.", _HINT) from error


def _names(folder: Path, labels: NiftiImage) -> dict[int, str]:
    path = folder / "labels.json"
    names = {}
    for value, name in read_json(path).items():
        if not value.isdecimal() or not isinstance(name, str):
            raise BadRequest(f"{path}: '{value}' does not pair a whole number with a name.", _HINT)
        names[int(value)] = resolve(name)
    nameless = sorted({int(value) for value in np.unique(labels.array)} - {0, *names})
    if nameless:
        raise BadRequest(f"{folder / 'labels.nii.gz'} holds the label {nameless[0]}, which {path.name} does not name.", _HINT)
    return names
