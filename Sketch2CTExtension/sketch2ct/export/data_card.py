"""What goes along with every export: DATA_CARD.md (`card_text`) and data_card.json, and the licence of the weights. No torch.

data_card.json: version, kind, synthetic, created, made_by, format, include, masks, folds, seed, name, cases, groups, model (bundle, hashes,
versions, generators, training_data), licence, seeds (count, smallest, largest, list), sources, structures (cases, volume_ml), grids,
reviews (standings of all cases, left_out, reviewers, verdicts), gates, masks_used, parts, usage, notes, skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..disk import created
from .case import ExportCase
from .model import Model
from .options import Options
from .selection import Selection
from .writing import Written, write_json

CARD, TEXT, LICENCE = "data_card.json", "DATA_CARD.md", "LICENSE-of-the-weights"
MARKS = (CARD,)  # what tells an export of ours from a folder that must not be replaced
CARD_VERSION = 1
MAX_SEEDS = 100  # more are given as a range
MAX_SOURCES = 50


def card(selection: Selection, options: Options, model: Model, written: Written) -> dict[str, Any]:
    """The facts of an export, as JSON. Raises BadRequest."""
    cases = selection.cases
    seeds = sorted({one.seed() for one in cases})
    sources = Counter(one.source for one in cases)
    reviewers: Any = dict(sorted(selection.reviewers.items())) if options.reviewers else sorted(selection.reviewers.values(), reverse=True)
    head = {
        "version": CARD_VERSION,
        "kind": "sketch2ct export",
        "synthetic": True,
        "created": created(),
        "made_by": f"sketch2ct {__version__}",
    }
    asked = {"format": options.to, "include": options.include, "masks": options.masks, "folds": options.folds, "seed": options.seed}
    return {
        **head,
        **asked,
        "name": options.name,
        "cases": len(cases),
        "groups": len({one.case.group for one in cases}),
        "model": {
            "bundle": model.bundle,
            "hashes": model.hashes,
            "versions": model.versions,
            "generators": model.generators,
            "training_data": model.training_data,
        },
        "licence": model.licence,
        "seeds": {"count": len(seeds), "smallest": seeds[0], "largest": seeds[-1], "list": seeds if len(seeds) <= MAX_SEEDS else None},
        "sources": {"count": len(sources), "most": dict(sources.most_common(MAX_SOURCES))},
        "structures": _structures(cases),
        "grids": _grids(cases),
        "reviews": {
            "standings": dict(sorted(selection.standings.items())),
            "left_out": dict(sorted(selection.left_out.items())),
            "reviewers": len(selection.reviewers),
            "verdicts": reviewers,
        },
        "gates": {"verdicts": dict(sorted(selection.gates.items())), "settings": selection.cohort.spec.get("gates")},
        "masks_used": _masks(cases),
        "parts": written.parts,
        "usage": written.usage,
        "notes": [*written.notes, *_notes(cases, options, model, written)],
        "skipped": dict(sorted(selection.skipped.items())),
    }


def write(folder: Path, facts: dict[str, Any], text: str, model: Model) -> None:
    """Lay the card, and the licence where it is known, into the export's folder."""
    write_json(folder / CARD, facts)
    (folder / TEXT).write_text(text, encoding="utf-8")
    if model.licence_text:
        (folder / LICENCE).write_text(model.licence_text, encoding="utf-8")


def _structures(cases: Sequence[ExportCase]) -> dict[str, Any]:
    volumes: dict[str, list[float]] = {}
    for one in cases:
        for name, volume in one.volumes_ml.items():
            volumes.setdefault(name, []).append(volume)
    return {name: {"cases": len(of), "volume_ml": _spread(of)} for name, of in sorted(volumes.items())}


def _spread(values: list[float]) -> dict[str, float]:
    middle = float(np.median(values))
    return {key: round(value, 3) for key, value in (("min", min(values)), ("median", middle), ("max", max(values)))}


def _grids(cases: Sequence[ExportCase]) -> dict[str, int]:
    """Voxel size and number, along i, j, k -> cases; the most frequent first."""
    grids = [one.grid for one in cases if one.grid]
    found = Counter(f"{_times(grid.spacing)} mm, {_times(grid.shape)}" for grid in grids)
    return dict(found.most_common(MAX_SOURCES))


def _times(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _masks(cases: Sequence[ExportCase]) -> dict[str, int]:
    edited = sum(one.mask_version > 0 for one in cases)
    given = sum(one.mask_version == 0 and one.given() for one in cases)
    counts = {"generated": len(cases) - edited - given, "edited": edited, "given": given}
    return counts | {"other_than_accepted": sum(one.other_mask_accepted for one in cases), "resampled": sum(one.sheared for one in cases)}


def _notes(cases: Sequence[ExportCase], options: Options, model: Model, written: Written) -> list[str]:
    notes = []
    masks = _masks(cases)
    if masks["other_than_accepted"]:
        notes.append(f"{masks['other_than_accepted']} masks are other versions than the ones that were accepted.")
    folds = [part["folds"] for part in written.parts if 1 < part.get("folds", 1) < options.folds]
    if folds:
        notes.append(f"There are too few groups for {options.folds} folds: there are {min(folds)}.")
    given = sum(one.given() for one in cases)
    if given:
        notes.append(f"{given} masks, or parts of them, were given with the request: they may be contours of patients.")
    if masks["resampled"]:
        what = "were on grids without right angles, which this format or its readers may refuse"
        notes.append(f"{masks['resampled']} cases {what}; all formats but monai have them resampled.")
    if len(model.hashes) > 1:
        notes.append(f"The cases were made by {len(model.hashes)} different models.")
    if len({one.case.group for one in cases}) == 1 and any("folds" in part for part in written.parts):
        notes.append("All cases come from one base request: there is no split that keeps them apart.")
    return notes
