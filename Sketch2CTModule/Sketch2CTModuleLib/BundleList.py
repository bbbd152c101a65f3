"""The installed bundles, as far as the panels need them. No weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sketch2ct import bundle
from sketch2ct.anatomy import vocabulary
from sketch2ct.errors import Sketch2CTError


def bundleNames() -> list[str]:
    """The names of the installed bundles; those whose metadata cannot be read are left out."""
    return [folder.name for folder in bundle.available() if bundleMetadata(folder.name)]


def bundleMetadata(name: str) -> dict[str, Any]:
    """The metadata of a bundle; empty when it is missing or damaged."""
    try:
        return bundle.load(name, check=False).metadata
    except (Sketch2CTError, OSError):
        return {}


def bundleFolder(name: str) -> Path:
    """The folder of a bundle. Raises BundleMissing."""
    return bundle.load(name, check=False).folder


def structureChoices(name: str) -> list[tuple[str, str]]:
    """(shown name, name) of every structure that the bundle makes."""
    known = vocabulary()
    return [(known[item].display if item in known else item, item) for item in bundleMetadata(name).get("structures", [])]


def generators(name: str) -> tuple[list[str], list[str]]:
    """The mask generators and the volume generators that the bundle holds."""
    listed = bundleMetadata(name).get("generators", {})
    return listed.get("mask", ["sketch2ct"]), listed.get("volume", ["sketch2ct"])
