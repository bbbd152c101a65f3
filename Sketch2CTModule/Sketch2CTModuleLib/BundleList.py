"""The installed bundles, as far as the panels need them. No weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sketch2ct import bundle, pairing
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


def missingForSurroundings(name: str) -> str:
    """Why the surroundings of what the bundle makes cannot be completed, in words; empty when they can."""
    try:
        pairing.completing(name)
    except (Sketch2CTError, OSError) as error:
        return str(error)
    return ""


def structureChoices(name: str) -> list[tuple[str, str]]:
    """(shown name, name) of every structure that the bundle makes."""
    known = vocabulary()
    return [(known[item].display if item in known else item, item) for item in bundleMetadata(name).get("structures", [])]


def generators(name: str) -> tuple[list[str], list[str]]:
    """The mask generators that the bundle holds; and the volume generators, those of the bundle that completes its surroundings after its
    own."""
    listed = bundleMetadata(name).get("generators", {})
    volumes = listed.get("volume", ["sketch2ct"])
    return listed.get("mask", ["sketch2ct"]), [*volumes, *(more for more in _partnersVolumes(name)[1] if more not in volumes)]


def volumeBundle(name: str, generator: str) -> str | None:
    """The other bundle that a volume generator which `generators` offers is taken from; None where the bundle itself holds it."""
    if generator in bundleMetadata(name).get("generators", {}).get("volume", ["sketch2ct"]):
        return None
    partner, volumes = _partnersVolumes(name)
    return partner if generator in volumes else None


def _partnersVolumes(name: str) -> tuple[str, list[str]]:
    """The bundle that completes the surroundings of what a bundle makes, and its volume generators; empty where there is none."""
    try:
        partner = pairing.completing(name)
    except (Sketch2CTError, OSError):
        return "", []
    return partner, bundleMetadata(partner).get("generators", {}).get("volume", [])
