"""Where a result comes from, in the form that nodes of a Slicer scene carry along. No torch, and no reader of images."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .errors import BadRequest
from .request import GenerationRequest

PREFIX = "Sketch2CT."
MANIFEST = "manifest.json"


def attributes(folder: Path, request: GenerationRequest) -> dict[str, str]:
    """A result folder's node attributes: request, seed, bundle, and the manifest's versions if there is one.

    Raises BadRequest for a manifest that cannot be read.
    """
    digest = hashlib.sha256((folder / "request.json").read_bytes()).hexdigest()
    values = {"synthetic": "true", "notForClinicalUse": "true", "seed": str(request.seed), "bundle": request.bundle}
    values |= {"requestSHA256": digest, "description": request.description}
    if (folder / MANIFEST).is_file():
        manifest = read_json(folder / MANIFEST)
        versions = manifest.get("versions")
        if isinstance(versions, dict):
            values |= {f"version.{key}": str(value) for key, value in versions.items()}
        if "bundle_hash" in manifest:
            values["bundleHash"] = str(manifest["bundle_hash"])
    return {f"{PREFIX}{key}": value for key, value in values.items()}


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a result folder. Raises BadRequest."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"Cannot read {path}: {error}.", "Give a complete result folder.") from error
    if not isinstance(data, dict):
        raise BadRequest(f"{path} must hold a JSON object.")
    return data
