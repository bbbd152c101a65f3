"""An existing mask -> the request that would ask for it: its sketch, and its description. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from . import bundle
from .anatomy import resolve, vocabulary
from .describe import Facts, Ranges, canonical, describe, measure
from .errors import BadRequest
from .geometry import ORIENTATIONS
from .imaging import LabelVolume, read_labels
from .naming import names_beside
from .request import MEANINGS, GenerationRequest, Sketch
from .sketching import largest_section, sketch_of


def read_named_labels(path: str | Path) -> LabelVolume:
    """A label map with the names that lie beside it, else the vocabulary's order. Raises BadRequest."""
    ours = dict(enumerate((name for name, entry in vocabulary().items() if not entry.derived), start=1))
    return read_labels(path, names_beside(path) or ours)


def measured(labels: LabelVolume, structure: str) -> Facts:
    """The facts of one structure. Raises BadRequest when the map has none of it."""
    name = resolve(structure)
    if not labels.has(name):
        found = ", ".join(n for n in labels.names.values() if labels.has(n)) or "nothing"
        raise BadRequest(f"The label map holds no voxel of '{name}'.", f"It holds: {found}.")
    return measure(labels.mask(name), labels.grid.affine)


def sentences(facts: Facts, structure: str, bundle_name: str, wordings: int = 0) -> list[str]:
    """The full description of measured facts, then up to `wordings` freer ones.

    Words of degree need the training ranges of an installed bundle; without them the one sentence gives numbers only.
    """
    spoken, ranges = vocabulary()[resolve(structure)].spoken, ranges_of(_metadata(bundle_name), structure)
    if ranges is None:
        return [numbers_alone(facts, spoken)]
    free = (describe(facts, spoken, ranges, np.random.default_rng(seed)) for seed in range(wordings))
    return [canonical(facts, spoken, ranges), *free]


def numbers_alone(facts: Facts, spoken: str) -> str:
    """Facts in words where no training ranges are known, so without degrees."""
    sides = f"{facts.extent_lr_mm:.0f} mm wide, {facts.extent_ap_mm:.0f} mm deep, {facts.extent_cc_mm:.0f} mm tall"
    return f"{spoken.capitalize()} of {facts.volume_ml:.3g} mL, {sides}."


def ranges_of(metadata: dict[str, Any], structure: str) -> Ranges | None:
    """The training ranges of a structure in a bundle's metadata, if they are there."""
    known = metadata.get("ranges", {}).get(resolve(structure))
    return Ranges.from_dict(known) if known else None


def _metadata(bundle_name: str) -> dict[str, Any]:
    """The metadata of an installed bundle, or nothing when it is not installed."""
    for folder in bundle.available():
        if folder.name == bundle_name:
            data: dict[str, Any] = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
            return data
    return {}


def request_from_mask(
    path: str | Path,
    structure: str,
    *,
    plane: str | None = None,
    meaning: str = "cross_section",
    bundle_name: str = "headneck",
) -> GenerationRequest:
    """The request that a person would write to get the mask `structure` of a label map again.

    The sketch is drawn on the largest section along `plane` (`axial`, `coronal`, `sagittal`; None means the largest of
    the three). Raises BadRequest.
    """
    if plane is not None and plane not in ORIENTATIONS:
        raise BadRequest(f"Unknown plane '{plane}'.", f"Use one of: {', '.join(ORIENTATIONS)}.")
    if meaning not in MEANINGS:
        raise BadRequest(f"Unknown meaning '{meaning}'.", f"Use one of: {', '.join(MEANINGS)}.")
    labels, name = read_named_labels(path), resolve(structure)
    facts = measured(labels, name)
    sketch = sketch_from_mask(labels, name, plane=plane, meaning=meaning)
    strokes = [np.round(stroke, 2) for stroke in sketch.strokes]
    sketch = type(sketch)(name, sketch.plane, strokes, sketch.closed, sketch.meaning)
    return GenerationRequest([sketch], sentences(facts, name, bundle_name)[0], bundle=bundle_name)


def sketch_from_mask(labels: LabelVolume, structure: str, *, plane: str | None = None, meaning: str = "cross_section") -> Sketch:
    """The exact outline of a structure's largest section, along `plane` or over all three. Raises BadRequest when it is too small."""
    mask = labels.mask(structure)
    section = largest_section(mask, labels.grid, (plane,) if plane else ORIENTATIONS)
    try:
        return sketch_of(mask, labels.grid, structure, section, meaning=meaning)
    except ValueError as error:
        raise BadRequest(f"The {structure} is too small to be sketched.", "Choose another structure.") from error
